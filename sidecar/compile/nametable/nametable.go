// Package nametable reads the names that Istio's control plane tells proxies which answer DNS questions: istio.networking.nds.v1.NameTable, of which no module
// has the type. It answers nobody.
package nametable

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	dnsv3 "github.com/envoyproxy/go-control-plane/envoy/data/dns/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/durationpb"
)

// lasts is how long answers are good for, as Istio's agent says.
const lasts = 30 * time.Second

// entry is what is said of one host: NameInfo.
type entry struct {
	ips                  []string
	shortname, namespace string
}

// longest is how long a name may be, in characters without the final dot (RFC 1035, section 2.3.4).
const longest = 253

// Name is a name as it is kept, without the final dot and in lower case; false: nobody can ask for it.
func Name(text string) (string, bool) {
	name := strings.ToLower(strings.TrimSuffix(text, "."))
	return name, name != "" && len(name) <= longest && !strings.Contains(strings.TrimPrefix(name, "*."), "*")
}

// Address reads an address; false: it is none that can be answered.
func Address(text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(text)
	return a.Unmap(), err == nil && a.Zone() == ""
}

// Read makes of a NameTable the table that a proxy in namespace answers from: hosts, and of Kubernetes' Services also their shorter names, unless these are
// hosts themselves. Names and addresses that cannot be read are left out, and so is a host of which no address is left; ignored counts them.
func Read(raw []byte, namespace string) (table *dnsv3.DnsTable, ignored int, err error) {
	hosts := map[string]entry{}
	err = each(raw, func(number protowire.Number, pair []byte) error {
		if number != 1 { // table
			return nil
		}
		var host string
		var e entry
		err := each(pair, func(number protowire.Number, value []byte) (err error) {
			switch number {
			case 1:
				host = string(value)
			case 2:
				e, err = info(value)
			}
			return err
		})
		if host, ok := Name(host); ok {
			hosts[host] = e
		} else {
			ignored++
		}
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("reading a name table: %w", err)
	}
	out := &dnsv3.DnsTable{}
	for _, host := range slices.Sorted(maps.Keys(hosts)) {
		e := hosts[host]
		ips := slices.DeleteFunc(slices.Clone(e.ips), func(ip string) bool { _, ok := Address(ip); return !ok })
		if ignored += len(e.ips) - len(ips); len(ips) == 0 && len(e.ips) > 0 {
			continue
		}
		for _, name := range e.names(host, namespace) {
			if _, another := hosts[name]; another && name != host {
				continue
			}
			out.VirtualDomains = append(out.VirtualDomains, &dnsv3.DnsTable_DnsVirtualDomain{Name: name, AnswerTtl: durationpb.New(lasts),
				Endpoint: &dnsv3.DnsTable_DnsEndpoint{EndpointConfig: &dnsv3.DnsTable_DnsEndpoint_AddressList{
					AddressList: &dnsv3.DnsTable_AddressList{Address: ips}}}})
		}
	}
	return out, ignored, nil
}

// names are what a host may be asked for as, from a namespace.
func (e entry) names(host, namespace string) []string {
	out := []string{host}
	shortname := strings.ToLower(e.shortname)
	short := shortname + "." + e.namespace
	if shortname == "" || e.namespace == "" || !strings.HasPrefix(host, short+".svc.") {
		return out
	}
	if out = append(out, short+".svc", short); e.namespace == namespace {
		out = append(out, shortname)
	}
	return out
}

func info(raw []byte) (e entry, err error) {
	err = each(raw, func(number protowire.Number, value []byte) error {
		switch number {
		case 1:
			e.ips = append(e.ips, string(value))
		case 3:
			e.shortname = string(value)
		case 4:
			e.namespace = string(value)
		}
		return nil
	})
	return e, err
}

// each calls read for each field of a message, all of which are strings or messages; others are skipped.
func each(raw []byte, read func(protowire.Number, []byte) error) error {
	for len(raw) > 0 {
		number, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return protowire.ParseError(n)
		}
		raw = raw[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, raw); n < 0 {
				return protowire.ParseError(n)
			}
			raw = raw[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(raw)
		if n < 0 {
			return errors.New("a field is cut off")
		}
		if err := read(number, value); err != nil {
			return err
		}
		raw = raw[n:]
	}
	return nil
}
