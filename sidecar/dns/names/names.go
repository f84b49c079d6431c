// Package names is what the mesh knows by name: an immutable table from host names to addresses, made of the control plane's resources.
// It looks nothing up and knows nothing of DNS messages (package dns does).
package names

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Record is what a name stands for. A family without addresses is known to have none.
type Record struct {
	V4, V6 []netip.Addr
	TTL    time.Duration // how long clients may remember it
}

// Zone is the names that one resource tells of.
type Zone struct {
	Name string // the resource's
	// Domains are lower case, without a final dot; "*.suffix" stands for everything below suffix.
	Domains map[string]*Record
}

// Table finds names. The nil table knows none.
type Table struct {
	exact map[string]*Record
	below map[string]*Record // by suffix
}

// Merge makes one table of zones. Where several tell of a name, the zone that is called so is believed, otherwise the first by name.
func Merge(zones []*Zone) *Table {
	zones = slices.Clone(zones)
	slices.SortFunc(zones, func(a, b *Zone) int { return strings.Compare(a.Name, b.Name) })
	size := 0
	for _, z := range zones {
		size += len(z.Domains)
	}
	t := &Table{exact: make(map[string]*Record, size), below: map[string]*Record{}}
	for _, own := range []bool{true, false} {
		for _, z := range zones {
			for domain, record := range z.Domains {
				if (domain == z.Name) == own {
					t.put(domain, record)
				}
			}
		}
	}
	return t
}

// put adds a name that is not there yet.
func (t *Table) put(domain string, r *Record) {
	in := t.exact
	if suffix, wild := strings.CutPrefix(domain, "*."); wild {
		in, domain = t.below, suffix
	}
	if in[domain] == nil {
		in[domain] = r
	}
}

// Len is how many names there are.
func (t *Table) Len() int {
	if t == nil {
		return 0
	}
	return len(t.exact) + len(t.below)
}

// Find returns what a name (lower case, without a final dot) stands for, nil where the table does not know it. A name itself comes before
// wildcards, the longest of which is taken.
func (t *Table) Find(name string) *Record {
	r, _ := t.Search(name, "")
	return r
}

// Search is Find, for names to which a client may have added a domain of its search path: where the name without it is what the table knows,
// of is that name, "" otherwise. The table's own names come first, and names within the domain are whole already.
func (t *Table) Search(name, domain string) (r *Record, of string) {
	if t == nil {
		return nil, ""
	}
	if r := t.exact[name]; r != nil {
		return r, ""
	}
	whole, added := without(name, domain)
	if r := t.exact[whole]; added && r != nil {
		return r, whole
	}
	if len(t.below) == 0 {
		return nil, ""
	}
	for rest, more := name, true; more; {
		if _, rest, more = strings.Cut(rest, "."); !more {
			break
		}
		if r := t.below[rest]; r != nil {
			return r, ""
		}
		if suffix, ok := without(rest, domain); ok && added && t.below[suffix] != nil {
			return t.below[suffix], whole
		}
	}
	return nil, ""
}

// without takes a domain off a name that is not within the domain without it.
func without(name, domain string) (string, bool) {
	out, added := cutDomain(name, domain)
	if _, twice := cutDomain(out, domain); twice || out == domain {
		return name, false
	}
	return out, added
}

// cutDomain takes a domain off the end of a name below it.
func cutDomain(name, domain string) (string, bool) {
	dot := len(name) - len(domain) - 1
	if domain == "" || dot <= 0 || name[dot] != '.' || name[dot+1:] != domain {
		return name, false
	}
	return name[:dot], true
}
