package dashboards

import (
	"encoding/json"
	"io/fs"
	"testing"
)

type dashboard struct {
	UID        string
	Title      string
	Templating struct{ List []struct{ Name, Type string } }
	Panels     []panel
}

type panel struct {
	ID         int
	Type       string
	Title      string
	GridPos    struct{ H, W, X, Y int }
	Datasource struct{ UID string }
	Targets    []struct {
		RefID, Expr string
		Datasource  struct{ UID string }
	}
}

func load(t *testing.T) map[string]dashboard {
	t.Helper()
	paths, err := fs.Glob(FS, "*.json")
	if err != nil || len(paths) != 3 {
		t.Fatalf("%d dashboards (%v), want 3", len(paths), err)
	}
	out := map[string]dashboard{}
	for _, path := range paths {
		raw, err := FS.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(raw, &d); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		out[path] = d
	}
	return out
}

func TestGrafanaWouldTakeThem(t *testing.T) {
	uids := map[string]bool{}
	for path, d := range load(t) {
		if d.UID == "" || d.Title == "" || uids[d.UID] {
			t.Errorf("%s: uid %q is empty or not unique", path, d.UID)
		}
		uids[d.UID] = true
		if len(d.Templating.List) == 0 || d.Templating.List[0].Name != "datasource" || d.Templating.List[0].Type != "datasource" {
			t.Errorf("%s: the first variable is not the data source", path)
		}
		checkPanels(t, path, d.Panels)
	}
}

func checkPanels(t *testing.T, path string, panels []panel) {
	ids := map[int]bool{}
	for i, p := range panels {
		g := p.GridPos
		if p.ID == 0 || ids[p.ID] {
			t.Errorf("%s: panel %q: id %d is not unique", path, p.Title, p.ID)
		}
		ids[p.ID] = true
		if g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
			t.Errorf("%s: panel %q does not fit the grid: %+v", path, p.Title, g)
		}
		for _, q := range panels[:i] {
			if o := q.GridPos; g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H {
				t.Errorf("%s: panels %q and %q overlap", path, p.Title, q.Title)
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("%s: panel %q: data source %q, %d targets", path, p.Title, p.Datasource.UID, len(p.Targets))
		}
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if target.Expr == "" || refs[target.RefID] || target.Datasource.UID != "${datasource}" {
				t.Errorf("%s: panel %q: target %+v", path, p.Title, target)
			}
			refs[target.RefID] = true
		}
	}
}
