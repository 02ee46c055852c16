package main

import (
	"encoding/json"
	"net/http"
	"strings"
)

// maxName is how many bytes of a name are greeted.
const maxName = 64

// handler answers for a binary that was built from that revision.
func handler(revision string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		name, ok := greeted(r.URL.Query().Get("name"))
		if !ok {
			http.Error(w, "name is at most 64 printable characters", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		// The connection may be gone; there is nobody left to tell.
		_ = json.NewEncoder(w).Encode(map[string]string{"hello": name, "revision": revision})
	})
	return mux
}

// greeted is who is greeted, and whether that is a name.
func greeted(name string) (string, bool) {
	if name == "" {
		return "world", true
	}
	unprintable := func(r rune) bool { return r < ' ' || r == 0x7f }
	return name, len(name) <= maxName && !strings.ContainsFunc(name, unprintable)
}
