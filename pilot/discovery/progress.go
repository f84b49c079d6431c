package discovery

import (
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/api/wire"
)

// Bounds of what is remembered of a proxy that does not answer, or refuses much.
const (
	maxOpen     = 64  // responses of a type
	maxMarks    = 64  // versions on their way
	maxRefusals = 16  // in force at a time
	maxError    = 512 // bytes of a reason
	maxNames    = 1 << 14
)

// Progress is how far a proxy got with the versions of the mesh that Subscription.Progress counts.
type Progress struct {
	Proxy     string // pod.namespace
	Namespace string
	Reached   uint64 // all that versions up to it changed was sent, and accepted or refused
	Refusals  []Refusal
	Missing   []string // Secrets, as resource names, that it asks for and that cannot be sent
}

// Refusal is what a proxy refused and was not sent better since. It is about what came with the versions after After, up to UpTo.
type Refusal struct {
	Type        string // the message's last word
	Error       string
	After, UpTo uint64
	names       []string // that stay refused; none: whatever comes next of the type mends it
}

// Covers reports whether the refusal is about what came with a version.
func (r Refusal) Covers(version uint64) bool { return r.After < version && version <= r.UpTo }

// track follows one stream: what was sent, what was answered, and which versions of the mesh that completes.
type track struct {
	pushing bool
	// answering: what was asked for is being sent. Its first part may be answered before the next is numbered.
	answering bool
	open      map[string][]sent // by type, not answered, the oldest first
	last      int               // number of the last response
	marks     []mark
	reached   uint64
	base      uint64 // the version that was complete before the last push
	complete  uint64 // the version that is complete now
	listens   bool   // a response about listeners was answered
	refusals  []Refusal
	missing   []string
}

// sent is one response.
type sent struct {
	number      int
	names       []string
	whole       bool // what is not in it is gone
	after, upTo uint64
}

// mark is a version that is reached once the responses up to one are answered.
type mark struct {
	version  uint64
	response int
}

// began notes that a push is under way, on top of a version that is complete. Until it ends, no later one is.
func (t *track) began(complete uint64) {
	if t.idle() {
		t.reached = max(t.reached, complete)
	}
	t.pushing, t.base, t.complete = true, complete, complete
}

// idle reports whether all that was sent is answered.
func (t *track) idle() bool {
	for _, open := range t.open {
		if len(open) > 0 {
			return false
		}
	}
	return !t.pushing && !t.answering && len(t.marks) == 0 && t.listens
}

// ended notes that all changes up to a version are sent.
func (t *track) ended(version uint64) {
	t.pushing, t.complete = false, version
	if n := len(t.marks); n > 0 && (t.marks[n-1].response == t.last || n == maxMarks) {
		t.marks = t.marks[:n-1]
	}
	t.marks = append(t.marks, mark{version, t.last})
	t.settle()
}

// settle passes the marks before the first response that is not answered.
func (t *track) settle() {
	first := t.last + 1
	for _, open := range t.open {
		if len(open) > 0 {
			first = min(first, open[0].number)
		}
	}
	for len(t.marks) > 0 && t.marks[0].response < first {
		t.reached = max(t.reached, t.marks[0].version)
		t.marks = t.marks[1:]
	}
}

func (t *track) sent(typ string, s sent) {
	t.last = s.number
	if t.open == nil {
		t.open = map[string][]sent{}
	}
	n := len(t.open[typ])
	if n < maxOpen {
		t.open[typ] = append(t.open[typ], s)
		return
	}
	newest := &t.open[typ][n-1] // becomes one with the last, so that nothing counts as answered before it is
	newest.number, newest.upTo, newest.whole = s.number, s.upTo, newest.whole || s.whole
	if len(newest.names) < maxNames {
		newest.names = append(slices.Clip(newest.names), s.names...)
	}
}

// answered takes an answer to response number; it answers those before it too. An empty reason accepts.
func (t *track) answered(typ string, number int, reason string) {
	var answer sent
	rest := t.open[typ]
	for len(rest) > 0 && rest[0].number <= number {
		if reason == "" {
			t.mended(typ, rest[0].names, rest[0].whole)
		}
		answer, rest = rest[0], rest[1:]
	}
	if len(rest) > 0 {
		t.open[typ] = rest
	} else {
		delete(t.open, typ)
	}
	t.listens = t.listens || typ == wire.TypeListener
	if reason != "" {
		t.refused(typ, answer, reason)
	}
	t.settle()
}

// refused notes a refusal. Of the names in the response those count that the reason mentions, or all if it mentions none.
func (t *track) refused(typ string, s sent, reason string) {
	names := slices.DeleteFunc(slices.Clone(s.names), func(name string) bool { return !mentions(reason, name) })
	if len(names) == 0 {
		names = s.names
	}
	t.mended(typ, names, s.whole)
	if len(reason) > maxError {
		reason = strings.ToValidUTF8(reason[:maxError], "") + "..."
	}
	t.refusals = append(t.refusals, Refusal{Type: shortType(typ), Error: reason, After: s.after, UpTo: s.upTo, names: names})
	if len(t.refusals) > maxRefusals { // the oldest two become one, so that none is forgotten
		a, b := t.refusals[0], t.refusals[1]
		b.After, b.UpTo, b.names = min(a.After, b.After), max(a.UpTo, b.UpTo), append(slices.Clip(b.names), a.names...)
		t.refusals = append([]Refusal{b}, t.refusals[2:]...)
	}
}

// mentions reports whether a text has a name as a word of its own: routes are called "80".
func mentions(text, name string) bool {
	for from := 0; name != ""; {
		i := strings.Index(text[from:], name)
		if i < 0 {
			return false
		}
		begin, end := from+i, from+i+len(name)
		if (begin == 0 || strings.IndexByte(" \t\n;,'\"([", text[begin-1]) >= 0) && (end == len(text) || strings.IndexByte(" \t\n;,:'\")]", text[end]) >= 0) {
			return true
		}
		from = end
	}
	return false
}

// mended forgets what was refused of names that came anew, that are gone, or that nobody asks for any more.
func (t *track) mended(typ string, names []string, whole bool) {
	t.refusals = slices.DeleteFunc(t.refusals, func(r Refusal) bool { return r.Type == shortType(typ) && (whole || len(r.names) == 0) })
	if len(t.refusals) == 0 {
		return
	}
	gone := make(map[string]bool, len(names))
	for _, name := range names {
		gone[name] = true
	}
	kept := t.refusals[:0]
	for _, r := range t.refusals {
		if r.Type == shortType(typ) {
			if r.names = slices.DeleteFunc(slices.Clone(r.names), func(name string) bool { return gone[name] }); len(r.names) == 0 {
				continue
			}
		}
		kept = append(kept, r)
	}
	t.refusals = kept
}

// pending counts the resources of a type that were sent and not answered.
func (t *track) pending(typ string) int {
	n := 0
	for _, s := range t.open[typ] {
		n += len(s.names)
	}
	return n
}

// errors are the reasons of the refusals of a type that are in force.
func (t *track) errors(typ string) string {
	var out []string
	for _, r := range t.refusals {
		if r.Type == shortType(typ) && !slices.Contains(out, r.Error) {
			out = append(out, r.Error)
		}
	}
	return strings.Join(out, "; ")
}

// progress is how far the stream's proxy is. The version is asked for first: a push that begins now shows.
func (e *entry) progress() Progress {
	_, complete := e.sub.Progress()
	e.mu.Lock()
	defer e.mu.Unlock()
	t := &e.track
	if t.idle() {
		t.reached = max(t.reached, complete)
	}
	out := Progress{Proxy: e.client.Pod + "." + e.client.Namespace, Namespace: e.client.Namespace, Refusals: slices.Clone(t.refusals), Missing: t.missing}
	if t.listens { // before that a proxy has answered nothing that matters
		out.Reached = t.reached
	}
	return out
}

// Progress returns how far each connected proxy is.
func (s *Server) Progress() []Progress {
	var out []Progress
	for _, e := range s.roster.entries() {
		out = append(out, e.progress())
	}
	slices.SortFunc(out, func(a, b Progress) int { return strings.Compare(a.Proxy, b.Proxy) })
	return out
}
