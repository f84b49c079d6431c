package model

import (
	"slices"
	"time"
)

// Duration is a length of time; zero means that the user said nothing unless a field's comment says otherwise.
type Duration = time.Duration

// Name identifies the object that something came from.
type Name struct {
	Namespace string
	Name      string
}

func (n Name) String() string { return n.Namespace + "/" + n.Name }

// Labels are a workload's labels.
type Labels map[string]string

// Selector chooses workloads by labels. A nil Selector was not given; an empty one chooses every workload.
type Selector map[string]string

// Matches reports whether every label of s is among l.
func (s Selector) Matches(l Labels) bool {
	for k, v := range s {
		if got, ok := l[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// Visibility says which namespaces may see an object: exportTo, resolved ("." replaced by the object's own namespace).
type Visibility struct {
	Public     bool     // "*"
	Namespaces []string // sorted; nobody if empty and not Public ("~")
}

// To reports whether namespace may see the object.
func (v Visibility) To(namespace string) bool {
	if v.Public {
		return true
	}
	_, found := slices.BinarySearch(v.Namespaces, namespace)
	return found
}

// Only reports whether just one namespace may see the object.
func (v Visibility) Only(namespace string) bool {
	return !v.Public && len(v.Namespaces) == 1 && v.Namespaces[0] == namespace
}

// Meets reports whether there is anybody who may see both v and o.
func (v Visibility) Meets(o Visibility) bool {
	if v.Public {
		v, o = o, v
	}
	return v.Public || o.Public && len(v.Namespaces) > 0 || slices.ContainsFunc(v.Namespaces, o.To)
}

// Within reports whether everybody who may see v may see o.
func (v Visibility) Within(o Visibility) bool {
	if v.Public || o.Public {
		return o.Public
	}
	for _, n := range v.Namespaces {
		if !o.To(n) {
			return false
		}
	}
	return true
}

// MatchKind is how a StringMatch compares.
type MatchKind uint8

// The kinds of string comparison.
const (
	MatchExact MatchKind = iota
	MatchPrefix
	MatchSuffix
	MatchRegex      // RE2, the whole string
	MatchPresent    // any value, but there
	MatchPathPrefix // whole path segments
	MatchTemplate   // path template with {*} and {**}
	MatchNonEmpty   // there, and not empty ("*" in policies)
)

// StringMatch compares one string.
type StringMatch struct {
	Kind       MatchKind
	Value      string
	IgnoreCase bool
}

// KeyMatch compares one named string: a header or a query parameter.
type KeyMatch struct {
	Key    string // lower case for headers
	Match  StringMatch
	Invert bool // withoutHeaders: a missing header counts as empty unless Match is MatchPresent
}

// Protocol is what a port carries.
type Protocol uint8

// The protocols that matter. Unknown means undeclared: it is sniffed.
const (
	Unknown Protocol = iota
	HTTP
	HTTP2
	GRPC
	GRPCWeb
	HTTPS
	TLS
	TCP
	Mongo
	MySQL
	Redis
	UDP
)

// IsHTTP reports whether p is plaintext HTTP of any version.
func (p Protocol) IsHTTP() bool { return p == HTTP || p == HTTP2 || p == GRPC || p == GRPCWeb }

// IsHTTP2 reports whether p is HTTP/2 for certain.
func (p Protocol) IsHTTP2() bool { return p == HTTP2 || p == GRPC || p == GRPCWeb }

// IsTLS reports whether p is TLS that the proxy does not terminate.
func (p Protocol) IsTLS() bool { return p == HTTPS || p == TLS }

// IsTCP reports whether p is carried as bytes: neither HTTP, nor sniffed.
func (p Protocol) IsTCP() bool { return p == TCP || p == Mongo || p == MySQL || p == Redis }
