package main

import (
	"os"
	"slices"
	"testing"
)

// TestThePage holds that the checked-in page names every target of the tree, none that is gone, and is what make fuzz would write.
func TestThePage(t *testing.T) {
	all, err := targets("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []target{{"sidecar/compile", "FuzzApply"}, {"sidecar/http1", "FuzzChunks"}, {"tests/contract", "FuzzTheProxyHonoursWhatPilotAccepts"}} {
		if !slices.Contains(all, x) {
			t.Errorf("%s was not found", x)
		}
	}
	text, err := os.ReadFile("../../" + page)
	if err != nil {
		t.Fatal(err)
	}
	if want := parse(string(text)).print(all); string(text) != want {
		t.Errorf("docs/fuzz.md is not up to date: make fuzz writes it. Want\n%s", want)
	}
}

// TestAdding holds that a page keeps what it says of targets that there are.
func TestAdding(t *testing.T) {
	a, b := target{"x/y", "FuzzA"}, target{"x/y", "FuzzB"}
	text := table{a: 1.25, b: 30}.print([]target{a, b})
	again := parse(text)
	if len(again) != 2 || again[a] != 1.2 || again[b] != 30 {
		t.Errorf("read %v from\n%s", again, text)
	}
	if text := again.print([]target{b}); parse(text)[a] != 0 || parse(text)[b] != 30 {
		t.Errorf("a target that is gone stays:\n%s", text)
	}
}
