package fields_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/translate/fields"
)

func TestRows(t *testing.T) {
	k := fields.Kind{
		Message: &networking.HTTPMirrorPolicy{}, Honoured: fields.New("destination.{host,port.number}"),
		Refused: []fields.Note{{Path: "destination.subset", Why: "no"}},
		Differs: []fields.Note{{Path: "destination", Why: "so"}},
	}
	want := []fields.Row{
		{Path: "destination", Verdict: fields.Differs, Why: "so"},
		{Path: "destination.host", Verdict: fields.Yes},
		{Path: "destination.subset", Verdict: fields.No, Why: "no"},
		{Path: "destination.port.number", Verdict: fields.Yes},
		{Path: "percentage", Verdict: fields.No, Why: "not implemented by this version"},
	}
	if diff := cmp.Diff(want, k.Rows()); diff != "" {
		t.Error(diff)
	}
}

// A block is one row where an earlier one of its type says the same, and only there.
func TestRowsOfOneType(t *testing.T) {
	k := fields.Kind{Message: &networking.Headers{}, Honoured: fields.New("request.{set,add}", "response.{set,add}")}
	k.Refused = []fields.Note{{Path: "{request,response}.remove", Why: "no"}}
	rows := k.Rows()
	if last := rows[len(rows)-1]; len(rows) != 4 || last != (fields.Row{Path: "response", Verdict: fields.Yes, Why: "as `request`"}) {
		t.Errorf("alike: %v", rows)
	}
	k.Differs = []fields.Note{{Path: "response.set", Why: "so"}}
	if rows := k.Rows(); len(rows) != 6 || rows[3].Verdict != fields.Differs {
		t.Errorf("not alike: %v", rows)
	}
}

func TestCompareKnowsNamesThatTheAPIHasNot(t *testing.T) {
	k := fields.Kind{Message: &networking.Headers{}, Honoured: fields.New("request.set"), Differs: []fields.Note{{Path: "request.put"}},
		Refused: []fields.Note{{Path: "requests"}}}
	unlisted, unknown := k.Compare()
	if diff := cmp.Diff([]string{"request.put (differs)", "requests"}, unknown); diff != "" || len(unlisted) != 5 {
		t.Errorf("%s; unlisted: %v", diff, unlisted)
	}
}
