package distribution

import (
	"maps"
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/report"
)

// Sum is the proxies of all replicas at one moment.
type Sum struct {
	local   local
	objects map[report.Ref]seen
	digests map[string]string
	others  []other
	// Missing are the Secrets, by namespace/name, that a proxy asks for and that cannot be sent, with one such proxy.
	Missing map[string]string
}

// other is another replica's report, indexed.
type other struct {
	Report
	objects map[report.Ref]*Object
}

// Sum adds the reports of the other replicas to what this one knows.
func (t *Tracker) Sum(others []Report) *Sum {
	l, all := t.local()
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &Sum{local: l, objects: t.objects, digests: map[string]string{}, Missing: missing(all)}
	for kind, d := range t.digests {
		s.digests[kind] = hex(d)
	}
	for _, r := range others {
		o := other{r, make(map[report.Ref]*Object, len(r.Objects))}
		for i := range r.Objects {
			o.objects[r.Objects[i].ref()] = &r.Objects[i]
		}
		s.others = append(s.others, o)
		maps.Copy(s.Missing, r.Missing)
	}
	return s
}

// Of returns how far an entry's generation got, or false where this replica has not seen it yet.
func (s *Sum) Of(e *report.Entry) (report.Acknowledgement, bool) {
	mine, known := s.objects[e.Ref]
	if !known || !mine.is(e) {
		return report.Acknowledgement{}, false
	}
	var a report.Acknowledgement
	a.Acked, a.Refused = s.local.count(mine.since)
	a.Proxies = len(s.local.reached)
	for _, o := range s.others {
		n, refused := o.of(e, mine.digest, s.digests[kindOf(e.Ref)])
		a.Acked += n
		a.Proxies += o.Proxies
		a.Refused = append(a.Refused, refused...)
	}
	a.Refused = a.Refused[:min(len(a.Refused), maxNamed)]
	return a, true
}

// of is what a replica says of an object, of which we have seen what mine tells. What it does not list, all of its proxies have acknowledged, if it has seen the same objects as we;
// otherwise it may never have seen this generation.
func (o other) of(e *report.Entry, mine uint64, digest string) (int, []report.Refusal) {
	listed := o.objects[e.Ref]
	switch {
	case listed == nil && o.Whole && o.Digests[kindOf(e.Ref)] == digest:
		return o.Proxies, nil
	case listed == nil || listed.Digest != hex(mine):
		return 0, nil
	}
	var refused []report.Refusal
	for _, i := range listed.Refused {
		if i >= 0 && i < len(o.Refusals) {
			refused = append(refused, o.Refusals[i])
		}
	}
	return listed.Acked, refused
}

// missing joins what proxies wait for, by namespace/name.
func missing(all []discovery.Progress) map[string]string {
	out := map[string]string{}
	for _, p := range all {
		for _, resource := range p.Missing {
			if name, ok := strings.CutPrefix(resource, wire.SecretPrefix); ok {
				if at := p.Namespace + "/" + name; out[at] == "" || p.Proxy < out[at] {
					out[at] = p.Proxy
				}
			}
		}
	}
	if len(out) <= maxObjects {
		return out
	}
	few := map[string]string{}
	for _, at := range slices.Sorted(maps.Keys(out))[:maxObjects] {
		few[at] = out[at]
	}
	return few
}
