package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func get(t *testing.T, target string) *httptest.ResponseRecorder {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler("0123abcd").ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, target, nil))
	return recorder
}

func TestItSaysWhichRevisionItIs(t *testing.T) {
	for target, hello := range map[string]string{"/": "world", "/?name=Ada": "Ada"} {
		answer := get(t, target)
		var said map[string]string
		if err := json.Unmarshal(answer.Body.Bytes(), &said); err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		if said["hello"] != hello || said["revision"] != "0123abcd" {
			t.Errorf("%s says %v", target, said)
		}
	}
}

func TestItIsReady(t *testing.T) {
	if code := get(t, "/healthz").Code; code != http.StatusNoContent {
		t.Errorf("/healthz answers %d", code)
	}
}

func TestWhatIsNoNameIsRefused(t *testing.T) {
	for _, name := range []string{strings.Repeat("a", 65), "a\nb", "a\x7f"} {
		if code := get(t, "/?name="+url.QueryEscape(name)).Code; code != http.StatusBadRequest {
			t.Errorf("%q answers %d", name, code)
		}
	}
	if code := get(t, "/elsewhere").Code; code != http.StatusNotFound {
		t.Errorf("another page answers %d", code)
	}
}

func TestTheAddress(t *testing.T) {
	for port, want := range map[string]string{"": ":8080", "9000": ":9000"} {
		if got := address(port); got != want {
			t.Errorf("address(%q) is %q", port, got)
		}
	}
}
