package dns

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/heddle-mesh/heddle/sidecar/dns/names"
)

const (
	headerSize = 12
	// plainSize is the largest answer over UDP to a client that names no size (RFC 1035, section 4.2.1).
	plainSize = 512
	// maxDatagram is the largest answer over UDP, whatever size a client names: more travels over TCP.
	maxDatagram = 4096
	maxMessage  = 65535
	optSize     = 11 // of an OPT record without options
	aliasSize   = 14 // of a CNAME record without the name that it leads to
)

// Reasons why a message is not answered as it asks.
var (
	errNoQuery   = errors.New("not a query") // dropped: answering answers makes loops
	errMalformed = errors.New("malformed")
	errOperation = errors.New("an operation other than QUERY")
)

// query is a message with one question.
type query struct {
	raw      []byte
	header   dnsmessage.Header
	question dnsmessage.Question
	name     string // the question's, lower case, without the final dot
	end      int    // where the question ends in raw
	edns     bool
	size     int  // of UDP answers that the client takes
	secure   bool // DO: the client wants DNSSEC's records
	options  bool // EDNS options, which may change the answer
}

// parse reads a request. Whatever the error, the header is filled in as far as it was there.
func parse(raw []byte) (*query, error) {
	q := &query{raw: raw, size: plainSize}
	var p dnsmessage.Parser
	var err error
	if q.header, err = p.Start(raw); err != nil || q.header.Response {
		return q, errNoQuery
	}
	if q.header.OpCode != 0 {
		return q, errOperation
	}
	if binary.BigEndian.Uint16(raw[4:]) != 1 {
		return q, errMalformed
	}
	if q.question, err = p.Question(); err != nil {
		return q, errMalformed
	}
	q.name = strings.ToLower(strings.TrimSuffix(q.question.Name.String(), "."))
	if q.end, err = skipName(raw, headerSize); err != nil || q.end+4 > len(raw) || q.end-headerSize != wireLength(q.question.Name) {
		return q, errMalformed // a compressed name in the first place that one could be
	}
	q.end += 4
	return q, q.readOptions(&p)
}

// wireLength is the size of a name that is not compressed: a length before each label, and the root's.
func wireLength(n dnsmessage.Name) int {
	if n.Length <= 1 {
		return 1
	}
	return int(n.Length) + 1
}

// readOptions reads the OPT record (RFC 6891), if there is one.
func (q *query) readOptions(p *dnsmessage.Parser) error {
	if p.SkipAllQuestions() != nil || p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return errMalformed
	}
	for {
		h, err := p.AdditionalHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return nil
		}
		if err != nil {
			return errMalformed
		}
		if h.Type == dnsmessage.TypeOPT {
			if q.edns {
				return errMalformed
			}
			q.edns, q.secure, q.options = true, h.DNSSECAllowed(), h.Length > 0
			q.size = min(max(int(h.Class), plainSize), maxDatagram)
		}
		if p.SkipAdditional() != nil {
			return errMalformed
		}
	}
}

// addresses says whether the mesh's own names have an answer to the question.
func (q *query) addresses() bool {
	return q.question.Class == dnsmessage.ClassINET && (q.question.Type == dnsmessage.TypeA || q.question.Type == dnsmessage.TypeAAAA)
}

// fromTable answers with a record's addresses, none (NODATA) where it has none of the family, and before them with the name that they are of,
// unless that is the question's (""). turn rotates them; limit bounds the answer, bytes.
func (q *query) fromTable(r *names.Record, of string, turn uint32, limit int) []byte {
	list, size := r.V4, 16
	if q.question.Type == dnsmessage.TypeAAAA {
		list, size = r.V6, 28
	}
	room := limit - q.end
	if q.edns {
		room -= optSize
	}
	alias := 0
	if of != "" {
		alias = aliasSize + len(of)
	}
	n := min(len(list), max(0, room-alias)/size)
	b := q.builder(dnsmessage.RCodeSuccess, n < len(list), q.end+alias+n*size+optSize)
	check(b.StartAnswers())
	h := dnsmessage.ResourceHeader{Name: q.question.Name, Class: dnsmessage.ClassINET, TTL: uint32(r.TTL / time.Second)}
	if of != "" && n > 0 {
		name := dnsmessage.MustNewName(of + ".")
		check(b.CNAMEResource(h, dnsmessage.CNAMEResource{CNAME: name}))
		h.Name = name
	}
	for i := range n {
		putAddress(b, h, list[(int(turn%uint32(len(list)))+i)%len(list)])
	}
	return q.finish(b)
}

func putAddress(b *dnsmessage.Builder, h dnsmessage.ResourceHeader, a netip.Addr) {
	if a.Is4() {
		check(b.AResource(h, dnsmessage.AResource{A: a.As4()}))
		return
	}
	check(b.AAAAResource(h, dnsmessage.AAAAResource{AAAA: a.As16()}))
}

// empty answers with a code alone.
func (q *query) empty(code dnsmessage.RCode, truncated bool) []byte {
	return q.finish(q.builder(code, truncated, q.end+headerSize+optSize))
}

// builder begins an answer with the question, if there is one.
func (q *query) builder(code dnsmessage.RCode, truncated bool, size int) *dnsmessage.Builder {
	b := dnsmessage.NewBuilder(make([]byte, 0, size), dnsmessage.Header{
		ID: q.header.ID, Response: true, OpCode: q.header.OpCode, Authoritative: code == dnsmessage.RCodeSuccess && !truncated, Truncated: truncated,
		RecursionDesired: q.header.RecursionDesired, RecursionAvailable: true, CheckingDisabled: q.header.CheckingDisabled, RCode: code,
	})
	b.EnableCompression()
	if q.end > 0 {
		check(b.StartQuestions())
		check(b.Question(q.question))
	}
	return &b
}

// finish ends an answer, with an OPT record where the question had one.
func (q *query) finish(b *dnsmessage.Builder) []byte {
	if q.edns {
		check(b.StartAdditionals())
		h := dnsmessage.ResourceHeader{}
		check(h.SetEDNS0(maxDatagram, dnsmessage.RCodeSuccess, q.secure))
		check(b.OPTResource(h, dnsmessage.OPTResource{}))
	}
	out, err := b.Finish()
	check(err)
	return out
}

// check ends what cannot be: a question that was read can be written.
func check(err error) {
	if err != nil {
		panic("dns: an answer to a question that was read can be written: " + err.Error())
	}
}
