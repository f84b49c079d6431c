//go:build linux

package kernel

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/heddle-mesh/heddle/injector/redirect"
)

const (
	register = 1
	// ctStatusDstNAT is IPS_DST_NAT of linux/netfilter/nf_conntrack_common.h.
	ctStatusDstNAT = 1 << 5
)

// encode returns the expressions of one rule.
func encode(r redirect.Rule) ([]expr.Any, error) {
	var out []expr.Any
	for _, m := range r.Matches {
		exprs, err := encodeMatch(m)
		if err != nil {
			return nil, err
		}
		out = append(out, exprs...)
	}
	return append(out, encodeVerdict(r.Verdict)...), nil
}

func encodeMatch(m redirect.Match) ([]expr.Any, error) {
	switch m := m.(type) {
	case redirect.TCP:
		return protocol(m.Not, unix.IPPROTO_TCP), nil
	case redirect.InInterface:
		return meta(expr.MetaKeyIIFNAME, m.Not, interfaceName(m.Name)), nil
	case redirect.OutInterface:
		return meta(expr.MetaKeyOIFNAME, m.Not, interfaceName(m.Name)), nil
	case redirect.From:
		return address(m.Prefix, false, source), nil
	case redirect.To:
		return address(m.Prefix, m.Not, destination), nil
	case redirect.Port:
		return append(protocol(false, unix.IPPROTO_TCP), loadPort(destinationPort), compare(m.Not, binaryutil.BigEndian.PutUint16(m.Number))), nil
	case redirect.UDPPort:
		offset := uint32(destinationPort)
		if m.Source {
			offset = sourcePort
		}
		return append(protocol(false, unix.IPPROTO_UDP), loadPort(offset), compare(false, binaryutil.BigEndian.PutUint16(m.Number))), nil
	case redirect.UID:
		return meta(expr.MetaKeySKUID, m.Not, binaryutil.NativeEndian.PutUint32(m.ID)), nil
	case redirect.GID:
		return meta(expr.MetaKeySKGID, m.Not, binaryutil.NativeEndian.PutUint32(m.ID)), nil
	case redirect.Opens:
		return append(protocol(false, unix.IPPROTO_TCP),
			&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: flags, Len: 1},
			&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 1, Mask: []byte{fin | syn | rst | ack}, Xor: []byte{0}},
			compare(false, []byte{syn})), nil
	case redirect.Owned:
		return []expr.Any{&expr.Ct{Register: register, Key: expr.CtKeyMARK}, compare(false, binaryutil.NativeEndian.PutUint32(redirect.OwnMark))}, nil
	case redirect.NotRedirected:
		mask := binaryutil.NativeEndian.PutUint32(ctStatusDstNAT)
		return []expr.Any{
			&expr.Ct{Register: register, Key: expr.CtKeySTATUS},
			&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 4, Mask: mask, Xor: make([]byte, 4)},
			compare(false, make([]byte, 4)),
		}, nil
	}
	return nil, fmt.Errorf("encoding %T: no such match", m)
}

func encodeVerdict(v redirect.Verdict) []expr.Any {
	switch v.Kind {
	case redirect.Redirect:
		return []expr.Any{
			&expr.Immediate{Register: register, Data: binaryutil.BigEndian.PutUint16(v.Port)},
			&expr.Redir{RegisterProtoMin: register},
		}
	case redirect.Reset:
		return []expr.Any{&expr.Counter{}, &expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}
	case redirect.Untracked:
		return []expr.Any{&expr.Notrack{}}
	case redirect.Own:
		return []expr.Any{
			&expr.Immediate{Register: register, Data: binaryutil.NativeEndian.PutUint32(redirect.OwnMark)},
			&expr.Ct{Register: register, SourceRegister: true, Key: expr.CtKeyMARK},
			&expr.Verdict{Kind: expr.VerdictReturn},
		}
	default:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}
	}
}

func compare(not bool, data []byte) *expr.Cmp {
	op := expr.CmpOpEq
	if not {
		op = expr.CmpOpNeq
	}
	return &expr.Cmp{Op: op, Register: register, Data: data}
}

func meta(key expr.MetaKey, not bool, data []byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: register}, compare(not, data)}
}

func protocol(not bool, number byte) []expr.Any {
	return meta(expr.MetaKeyL4PROTO, not, []byte{number})
}

// Offsets of ports in the headers of TCP and UDP.
const sourcePort, destinationPort = 0, 2

// flags is the offset of a TCP header's flags, some of which follow (RFC 9293, section 3.1).
const flags, fin, syn, rst, ack = 13, 1, 2, 4, 16

func loadPort(offset uint32) *expr.Payload {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2}
}

func interfaceName(name string) []byte {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return padded
}

// side is which of a packet's addresses to look at: its offset in either header.
type side struct{ v4, v6 uint32 }

var (
	source      = side{v4: 12, v6: 8}
	destination = side{v4: 16, v6: 24}
)

func address(p netip.Prefix, not bool, s side) []expr.Any {
	family, offset := byte(unix.NFPROTO_IPV4), s.v4
	if p.Addr().Is6() {
		family, offset = unix.NFPROTO_IPV6, s.v6
	}
	data := p.Addr().AsSlice()
	size := uint32(len(data))
	out := append(meta(expr.MetaKeyNFPROTO, false, []byte{family}),
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size})
	if !p.IsSingleIP() {
		out = append(out, &expr.Bitwise{SourceRegister: register, DestRegister: register, Len: size, Mask: mask(p), Xor: make([]byte, size)})
	}
	return append(out, compare(not, data))
}

func mask(p netip.Prefix) []byte {
	out := make([]byte, p.Addr().BitLen()/8)
	for bit := range p.Bits() {
		out[bit/8] |= 0x80 >> (bit % 8)
	}
	return out
}
