// Says what is wrong with a dashboard, by Grafana's own SDK: keys that it does not know, types, ranges, and what is
// lost when it is read and written again. What it does not know is left to others: the types of panels, and whether
// a query means anything.
//
//	check dashboard.json
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail(err)
	}
	var strict dashboard.Dashboard
	// A success is an error with nothing in it.
	if err := strict.UnmarshalJSONStrict(text); err != nil && err.Error() != "" {
		fail(err)
	}
	var board dashboard.Dashboard
	if err := json.Unmarshal(text, &board); err != nil {
		fail(err)
	}
	if err := board.Validate(); err != nil && err.Error() != "" {
		fail(err)
	}
	again, err := json.Marshal(board)
	if err != nil {
		fail(err)
	}
	before, after := map[string]bool{}, map[string]bool{}
	keys(text, before)
	keys(again, after)
	var lost []string
	for key := range before {
		if !after[key] {
			lost = append(lost, key)
		}
	}
	sort.Strings(lost)
	if len(lost) > 0 {
		fail(fmt.Errorf("lost when read and written again: %q", lost))
	}
}

func keys(text []byte, into map[string]bool) {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		fail(err)
	}
	walk("", value, into)
}

// Notes the path of every key whose value says something.
func walk(path string, value any, into map[string]bool) {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			walk(path+"."+key, inner, into)
		}
	case []any:
		for _, inner := range value {
			walk(path+"[]", inner, into)
		}
	case nil:
	default:
		into[path] = true
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
