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
	if t == nil {
		return nil
	}
	if r := t.exact[name]; r != nil || len(t.below) == 0 {
		return r
	}
	for {
		dot := strings.IndexByte(name, '.')
		if dot < 0 {
			return nil
		}
		name = name[dot+1:]
		if r := t.below[name]; r != nil {
			return r
		}
	}
}
