// Package distribution counts, object by object, the proxies that have acknowledged an object's generation: those of this replica by what
// discovery knows of their streams, those of the others by the reports that replicas write for each other. It holds values and does no
// I/O: how reports travel is not its business.
package distribution

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/report"
)

// Bounds of a report, which has to fit a ConfigMap together with those of the other replicas.
const (
	maxObjects  = 400 // that are listed, about 120 bytes each
	maxRefusals = 20  // that are told with their reason
	maxNamed    = 3   // proxies that are named for one object
	maxError    = 256 // bytes of a reason
	// recent is how long a change is listed even where every proxy has acknowledged it.
	recent = time.Minute
)

// Proxies tells how far the proxies of this replica are.
type Proxies func() []discovery.Progress

// Tracker knows since which version of the mesh each object is what it is. Its methods may be called from several goroutines.
type Tracker struct {
	proxies Proxies
	now     func() time.Time

	mu      sync.Mutex
	objects map[report.Ref]seen
	digests map[string]uint64
}

// seen is an object at one generation.
type seen struct {
	uid        string
	generation int64
	since      uint64 // the first version of the mesh with it
	at         time.Time
	digest     uint64
}

// is reports whether an entry is about the object at that generation.
func (s seen) is(e *report.Entry) bool { return s.uid == e.UID && s.generation == e.Generation }

// NewTracker returns a Tracker that has seen nothing.
func NewTracker(proxies Proxies) *Tracker {
	return &Tracker{proxies: proxies, now: time.Now, objects: map[report.Ref]seen{}}
}

// Observe takes the report of a version of the mesh. Versions grow.
func (t *Tracker) Observe(version uint64, r report.Report) {
	next, digests, now := make(map[report.Ref]seen, len(r.Entries)), map[string]uint64{}, t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range r.Entries {
		if !Counted(e.Ref) {
			continue
		}
		s, known := t.objects[e.Ref]
		if !known || !s.is(e) {
			s = seen{e.UID, e.Generation, version, now, digest(e)}
		}
		next[e.Ref] = s
		digests[kindOf(e.Ref)] ^= s.digest
	}
	t.objects, t.digests = next, digests
}

// Counted reports whether acknowledgements are counted for an object: those of Istio's kinds, which have a generation and a status.
func Counted(r report.Ref) bool { return strings.HasSuffix(r.Group, ".istio.io") }

func kindOf(r report.Ref) string { return r.Kind + "." + r.Group }

// digest tells an object at one generation from others of its kind, and from another that has its name.
func digest(e *report.Entry) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%s/%s/%d", e.Ref.Namespace, e.Ref.Name, e.UID, e.Generation)
	return h.Sum64()
}

func hex(digest uint64) string { return fmt.Sprintf("%016x", digest) }

// local is this replica's proxies, ready to be counted.
type local struct {
	reached  []uint64 // sorted
	refusals []refusal
}

// refusal is what one proxy refused, and how far it is.
type refusal struct {
	told    report.Refusal
	reached uint64
	of      discovery.Refusal
}

func (t *Tracker) local() (local, []discovery.Progress) {
	all := t.proxies()
	var l local
	for _, p := range all {
		l.reached = append(l.reached, p.Reached)
		for _, r := range p.Refusals {
			l.refusals = append(l.refusals, refusal{report.Refusal{Proxy: p.Proxy, Reason: r.Type + ": " + cut(r.Error)}, p.Reached, r})
		}
	}
	slices.Sort(l.reached)
	return l, all
}

// count returns how many proxies have acknowledged what came with a version, and a few of those who refuse it.
func (l local) count(since uint64) (int, []report.Refusal) {
	first, _ := slices.BinarySearch(l.reached, since)
	n, last := len(l.reached)-first, ""
	var out []report.Refusal
	for _, r := range l.refusals { // those of one proxy stand together
		if !r.of.Covers(since) {
			continue
		}
		if r.reached >= since && r.told.Proxy != last {
			n--
		}
		if last = r.told.Proxy; len(out) < maxNamed {
			out = append(out, r.told)
		}
	}
	return n, out
}

// cut bounds what a proxy said, and makes one line of it: it is shown to others.
func cut(text string) string {
	if len(text) > maxError {
		text = text[:maxError] + "..."
	}
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, ""), unicode.IsControl), " ")
}

// Report is what one replica tells the others.
type Report struct {
	Proxies int `json:"proxies"`
	// Digests are of the names, UIDs and generations of all objects, by kind: equal digests mean that two replicas have seen the same.
	Digests map[string]string `json:"digests"`
	// Whole means that every object that is not listed was acknowledged by all proxies.
	Whole    bool             `json:"whole"`
	Objects  []Object         `json:"objects,omitempty"`
	Refusals []report.Refusal `json:"refusals,omitempty"`
	// Missing are the Secrets, by namespace/name, that a proxy asks for and that cannot be sent, with one such proxy.
	Missing map[string]string `json:"missing,omitempty"`
}

// Object is one object in a Report.
type Object struct {
	Group     string `json:"g"`
	Kind      string `json:"k"`
	Namespace string `json:"ns"`
	Name      string `json:"n"`
	Digest    string `json:"d"`           // of its UID and generation
	Acked     int    `json:"a"`           // proxies
	Refused   []int  `json:"r,omitempty"` // indices into Refusals
}

func (o Object) ref() report.Ref {
	return report.Ref{Group: o.Group, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}
}

// Report returns this replica's report.
func (t *Tracker) Report() Report {
	l, all := t.local()
	t.mu.Lock()
	defer t.mu.Unlock()
	out := Report{Proxies: len(l.reached), Digests: map[string]string{}, Whole: true, Missing: missing(all)}
	for kind, d := range t.digests {
		out.Digests[kind] = hex(d)
	}
	var open, done []report.Ref
	for ref, s := range t.objects {
		n, refusals := l.count(s.since)
		switch {
		case n < len(l.reached) || len(refusals) > 0:
			open = append(open, ref)
		case t.now().Sub(s.at) < recent:
			done = append(done, ref)
		}
	}
	newest := func(a, b report.Ref) int {
		return cmp.Or(cmp.Compare(t.objects[b].since, t.objects[a].since), a.Compare(b))
	}
	slices.SortFunc(open, newest)
	slices.SortFunc(done, newest)
	out.Whole = len(open) <= maxObjects
	listed := append(open, done...)
	for _, ref := range listed[:min(len(listed), maxObjects)] {
		out.add(ref, t.objects[ref], l)
	}
	return out
}

// add lists one object.
func (r *Report) add(ref report.Ref, s seen, l local) {
	n, refusals := l.count(s.since)
	o := Object{Group: ref.Group, Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name, Digest: hex(s.digest), Acked: n}
	for _, refused := range refusals {
		i := slices.Index(r.Refusals, refused)
		if i < 0 && len(r.Refusals) < maxRefusals {
			i = len(r.Refusals)
			r.Refusals = append(r.Refusals, refused)
		}
		if i >= 0 {
			o.Refused = append(o.Refused, i)
		}
	}
	r.Objects = append(r.Objects, o)
}
