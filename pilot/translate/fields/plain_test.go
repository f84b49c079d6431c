package fields_test

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heddle-mesh/heddle/pilot/translate/fields"
)

type inner struct {
	A string  `json:"a,omitempty"`
	B *string `json:"b"`
}

type outer struct {
	inner `json:""`
	List  []inner `json:"list"`
	One   *inner  `json:"one"`
	Gone  *inner  `json:"gone"`
}

// Kubernetes' own kinds have rows too, and a field of which nothing is said is noticed.
func TestRowsOfAStruct(t *testing.T) {
	k := fields.Kind{Struct: reflect.TypeFor[outer](), Honoured: fields.New("a", "list.{a,b}", "one.a"),
		Refused: []fields.Note{{Path: "{one.b,gone}", Why: "no"}}, Differs: []fields.Note{{Path: "list", Why: "so"}}}
	want := []fields.Row{
		{Path: "a", Verdict: fields.Yes},
		{Path: "b", Verdict: fields.No, Why: "not implemented by this version"},
		{Path: "list", Verdict: fields.Differs, Why: "so"},
		{Path: "list.a", Verdict: fields.Yes},
		{Path: "list.b", Verdict: fields.Yes},
		{Path: "one.a", Verdict: fields.Yes},
		{Path: "one.b", Verdict: fields.No, Why: "no"},
		{Path: "gone", Verdict: fields.No, Why: "no"},
	}
	if diff := cmp.Diff(want, k.Rows()); diff != "" {
		t.Error(diff)
	}
	k.Differs = append(k.Differs, fields.Note{Path: "lists", Why: "so"})
	unlisted, unknown := k.Compare()
	if diff := cmp.Diff([][]string{{"b"}, {"lists"}}, [][]string{unlisted, unknown}); diff != "" {
		t.Error(diff)
	}
}
