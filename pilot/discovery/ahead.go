package discovery

import (
	"context"

	"github.com/heddle-mesh/heddle/api/wire"
)

// ahead sends what the answers to a question refer to, before them: who asks on demand waits, and would ask for it next. The client counts as
// subscribed to it from then on.
func (s *stream) ahead(ctx context.Context, of *subscribed, names map[string]bool) error {
	if !of.partial {
		return nil
	}
	view := s.sub.View()
	needs := Changes{}
	for name := range names {
		if version, _ := of.told.get(name); version != "" || !of.names.has(name) {
			continue
		}
		needs.Merge(view.Needs(of.typ, name))
	}
	for _, typ := range pushOrder() {
		if len(needs[typ]) == 0 {
			continue
		}
		t := s.types[typ]
		if t == nil { // it has had no name of the type to ask for
			t = newSubscribed(typ, s.server.tables)
			s.types[typ] = t
			s.status.update(typ, func(*TypeStatus, *track) {})
		}
		if fresh := t.expect(ctx, view, needs[typ]); len(fresh) > 0 {
			if err := s.send(ctx, t, fresh); err != nil {
				return err
			}
		}
	}
	return nil
}

// expect subscribes to those of the names that are there and were not asked for, and returns them.
func (s *subscribed) expect(ctx context.Context, view View, names map[string]bool) map[string]bool {
	fresh := map[string]bool{}
	var added []text
	for name := range names {
		if s.names.has(name) || s.typ == wire.TypeSecret || view.Get(ctx, s.typ, name) == nil {
			continue
		}
		added = append(added, text{name: name})
		s.early[name], fresh[name] = true, true
	}
	s.names = s.names.with(added, nil)
	return fresh
}
