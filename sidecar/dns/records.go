package dns

import (
	"encoding/binary"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Bounds of how long forwarded answers are remembered, whatever they say themselves.
const (
	maxLife         = time.Hour
	maxNegativeLife = 5 * time.Minute
)

// skipName returns where the name at an offset ends in the message; it follows no pointer.
func skipName(msg []byte, at int) (int, error) {
	for at < len(msg) {
		switch n := int(msg[at]); {
		case n == 0:
			return at + 1, nil
		case n&0xC0 == 0xC0:
			if at+2 > len(msg) {
				return 0, errMalformed
			}
			return at + 2, nil
		case n&0xC0 != 0:
			return 0, errMalformed
		default:
			at += 1 + n
		}
	}
	return 0, errMalformed
}

// resource is where one resource record of a message is.
type resource struct {
	section int // 0 answer, 1 authority, 2 additional
	typ     dnsmessage.Type
	ttlAt   int
	data    []byte
}

func (r resource) ttl(msg []byte) uint32 { return binary.BigEndian.Uint32(msg[r.ttlAt:]) }

// resources finds the records of a message that has one question.
func resources(msg []byte) ([]resource, error) {
	if len(msg) < headerSize || binary.BigEndian.Uint16(msg[4:]) != 1 {
		return nil, errMalformed
	}
	at, err := skipName(msg, headerSize)
	if err != nil {
		return nil, err
	}
	at += 4
	var out []resource
	for section := range 3 {
		for range binary.BigEndian.Uint16(msg[6+2*section:]) {
			if at, err = skipName(msg, at); err != nil || at+10 > len(msg) {
				return nil, errMalformed
			}
			r := resource{section: section, typ: dnsmessage.Type(binary.BigEndian.Uint16(msg[at:])), ttlAt: at + 4}
			size := int(binary.BigEndian.Uint16(msg[at+8:]))
			if at += 10; at+size > len(msg) {
				return nil, errMalformed
			}
			r.data = msg[at : at+size]
			at += size
			out = append(out, r)
		}
	}
	return out, nil
}

// life is how long an answer may be remembered; 0: not at all. What does not exist is remembered as long as the zone's SOA record says
// (RFC 2308, section 5).
func life(msg []byte, all []resource) time.Duration {
	code, truncated := dnsmessage.RCode(msg[3]&0xF), msg[2]&0x02 != 0
	if truncated || code != dnsmessage.RCodeSuccess && code != dnsmessage.RCodeNameError {
		return 0
	}
	seconds, answers, soa := uint32(maxLife/time.Second), 0, false
	for _, r := range all {
		if r.typ == dnsmessage.TypeOPT {
			continue
		}
		if r.section == 0 {
			answers++
		}
		ttl := r.ttl(msg)
		if ttl > 1<<31-1 { // RFC 2181, section 8
			ttl = 0
		}
		seconds = min(seconds, ttl)
		if r.section == 1 && r.typ == dnsmessage.TypeSOA && len(r.data) >= 4 {
			soa = true
			if answers == 0 || code == dnsmessage.RCodeNameError {
				seconds = min(seconds, binary.BigEndian.Uint32(r.data[len(r.data)-4:]))
			}
		}
	}
	out := time.Duration(seconds) * time.Second
	if answers > 0 && code == dnsmessage.RCodeSuccess {
		return out
	}
	if !soa {
		return 0
	}
	return min(out, maxNegativeLife)
}
