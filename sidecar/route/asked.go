package route

import (
	"maps"
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// maxHost is the longest host that is asked for, in bytes: a name (RFC 1035, section 2.3.4), or an address in brackets.
const maxHost = 253

// unasked stands in for the virtual host of a host that the control plane was not asked about. It is never written.
var unasked = &VirtualHost{Name: "unasked"}

// Unasked reports whether the control plane has to be asked before it is known who serves the host.
func (v *VirtualHost) Unasked() bool { return v == unasked }

// Found is a virtual host that the control plane has for a host.
type Found struct {
	*VirtualHost
	Domains []string // all that it serves
}

// NewVirtualHost compiles a virtual host that comes alone. Its error names the field that is wrong, as a path below it.
func NewVirtualHost(c VirtualHostConfig) (*VirtualHost, error) { return newVirtualHost(&c, layer{}) }

// OnDemand reports whether hosts are asked for one by one: what the table was made of is only for those that the control plane does not have.
func (t *Table) OnDemand() bool { return t.onDemand }

// With returns a table on demand with all that was answered: by host as Question spells it, what was found, and those that the control plane
// does not have.
func (t *Table) With(found map[string]Found, absent []string) *Table {
	out := *t
	out.asked = make(map[string]*VirtualHost, 4*len(found)+len(absent))
	hosts := slices.Sorted(maps.Keys(found))
	for _, host := range hosts {
		for _, d := range found[host].Domains {
			if !strings.Contains(d, "*") { // a longer name might be somebody else's
				out.asked[strings.ToLower(d)] = found[host].VirtualHost
			}
		}
	}
	for _, host := range absent {
		out.asked[host] = t.wild([]byte(host))
	}
	for _, host := range hosts {
		out.asked[host] = found[host].VirtualHost
	}
	return &out
}

// Question spells a request's host as the control plane is asked for it: in lower case, without the port where the table says so.
func (t *Table) Question(authority exchange.View) string {
	if t.ignorePort {
		authority = withoutPort(authority)
	}
	return string(appendLower(nil, authority))
}

// askable reports whether there may be a virtual host of that very name. What no name may hold is not worth a question.
func askable(host []byte) bool {
	if len(host) == 0 || len(host) > maxHost {
		return false
	}
	for _, c := range host {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.', c == '-', c == '_', c == ':', c == '[', c == ']':
		default:
			return false
		}
	}
	return true
}
