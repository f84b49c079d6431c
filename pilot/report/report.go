// Package report says, object by object, what translation made of what people wrote: accepted, degraded, refused or closed, with
// path and reason. It holds values only: who writes them to a status, an admission response or a terminal is not its business.
package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Ref names an object.
type Ref struct {
	Group, Kind, Namespace, Name string
}

func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// Compare orders references by kind, namespace and name.
func (r Ref) Compare(o Ref) int {
	return cmp.Or(cmp.Compare(r.Kind, o.Kind), cmp.Compare(r.Group, o.Group), cmp.Compare(r.Namespace, o.Namespace), cmp.Compare(r.Name, o.Name))
}

// Severity of an issue.
type Severity uint8

// The severities. Only an Error keeps an object out.
const (
	// Warning: the object is in force, and probably does not do what its author wanted.
	Warning Severity = iota
	// Partial: the object is in force without the part that the path names.
	Partial
	// Error: the object is not in force as written; admission refuses it.
	Error
)

func (s Severity) String() string { return [...]string{"warning", "partial", "error"}[s] }

// Topic is what kind of thing an issue is about: each is a condition of its own in an object's status.
type Topic uint8

// The topics.
const (
	Content   Topic = iota // what the object says by itself
	Conflict               // another object, which the reason names, says something about the same
	Reference              // what the object names is not there
)

func (t Topic) String() string { return [...]string{"content", "conflict", "reference"}[t] }

// Issue is one thing to say about an object.
type Issue struct {
	Severity Severity
	Topic    Topic
	Path     string // "spec.http[0].route[1].weight"; empty: the whole object
	Reason   string
	Code     Code // see Known
}

func (i Issue) String() string {
	if i.Path == "" {
		return i.Severity.String() + ": " + i.Reason
	}
	return i.Severity.String() + ": " + i.Path + ": " + i.Reason
}

// State is what became of an object.
type State uint8

// The states.
const (
	Accepted State = iota // in force as written
	Degraded              // in force, without some part
	Refused               // left out
	Closed                // a security object that was not understood: it allows nothing
)

func (s State) String() string { return [...]string{"accepted", "degraded", "refused", "closed"}[s] }

// Entry is what there is to say about one object. It is immutable.
type Entry struct {
	Ref        Ref
	UID        string // metadata.uid of the object that was judged: another that is given its name later has another
	Generation int64  // metadata.generation of the object that was judged
	State      State
	Issues     []Issue
	// Addresses are what the mesh gave to a ServiceEntry's hosts, to be written down so that they stay the same.
	Addresses []GivenAddress
	Secrets   []string // that the object names, without a namespace: it is the gateway's
	Foreign   bool     // another mesh's control plane owns the object
}

// GivenAddress is an address that the mesh gave to a host.
type GivenAddress struct{ Host, Value string }

// NewEntry derives the state from the issues. Security objects with errors are Closed, others Refused.
func NewEntry(ref Ref, generation int64, security bool, issues []Issue) *Entry {
	e := &Entry{Ref: ref, Generation: generation, Issues: issues}
	for _, i := range issues {
		switch {
		case i.Severity == Error && security:
			e.State = Closed
		case i.Severity == Error:
			e.State = Refused
		case i.Severity == Partial && e.State == Accepted:
			e.State = Degraded
		}
	}
	return e
}

func (e *Entry) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Ref, e.State)
	for _, i := range e.Issues {
		fmt.Fprintf(&b, "\n  %s", i)
	}
	return b.String()
}

// Report is what translation had to say about every object that it judged, sorted by reference.
type Report struct {
	Entries   []*Entry
	Ingresses Published
}

// Published is objects in force, and where all of them are to be had.
type Published struct {
	Objects   []Object
	Addresses []Address // sorted
}

// Object is one object under its name: another that is given the name later has another UID.
type Object struct {
	Ref Ref
	UID string
}

// Address is an address or a host name.
type Address struct{ IP, Hostname string }

// Sort brings the entries into their order.
func (r *Report) Sort() { slices.SortFunc(r.Entries, CompareEntries) }

// CompareEntries orders entries by reference.
func CompareEntries(a, b *Entry) int { return a.Ref.Compare(b.Ref) }

// Find returns the entry of an object, or nil.
func (r *Report) Find(ref Ref) *Entry {
	i, ok := slices.BinarySearchFunc(r.Entries, ref, func(e *Entry, ref Ref) int { return e.Ref.Compare(ref) })
	if !ok {
		return nil
	}
	return r.Entries[i]
}

// HasErrors reports whether any issue is an error.
func HasErrors(issues []Issue) bool {
	return slices.ContainsFunc(issues, func(i Issue) bool { return i.Severity == Error })
}

// Log collects the issues of one object while it is read.
type Log struct {
	Issues []Issue
}

// Errorf records an error.
func (l *Log) Errorf(path, format string, args ...any) { l.add(Error, Content, path, format, args) }

// Warnf records a warning.
func (l *Log) Warnf(path, format string, args ...any) { l.add(Warning, Content, path, format, args) }

// Partialf records that a part is left out.
func (l *Log) Partialf(path, format string, args ...any) { l.add(Partial, Content, path, format, args) }

// Conflictf records that another object comes first. The reason names it.
func (l *Log) Conflictf(s Severity, path, format string, args ...any) {
	l.add(s, Conflict, path, format, args)
}

// Missingf records that what the path names is not there.
func (l *Log) Missingf(s Severity, path, format string, args ...any) {
	l.add(s, Reference, path, format, args)
}

func (l *Log) add(s Severity, t Topic, path, format string, args []any) {
	l.Issues = append(l.Issues, Issue{Severity: s, Topic: t, Path: path, Reason: fmt.Sprintf(format, args...)})
}

// Failed reports whether an error was recorded.
func (l *Log) Failed() bool { return HasErrors(l.Issues) }

// Acknowledgement is how far an object's generation got among the proxies.
type Acknowledgement struct {
	Acked, Proxies int
	Refused        []Refusal // at most a few
}

// Refusal is a proxy that refused what came with an object's generation.
type Refusal struct {
	Proxy  string `json:"proxy"` // pod.namespace
	Reason string `json:"reason"`
}

// Complete reports whether every proxy has acknowledged. Where there is none, nobody has.
func (a Acknowledgement) Complete() bool {
	return a.Proxies > 0 && a.Acked == a.Proxies && len(a.Refused) == 0
}
