package block

import (
	"strings"

	"golang.org/x/net/http2/hpack"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Kind is what a header block stands for.
type Kind uint8

// The kinds.
const (
	Request Kind = iota
	Response
	Trailers
	Ignored // decoded only to keep the HPACK table in step
)

// Verdict is what a header block is worth.
type Verdict uint8

// The verdicts.
const (
	Good      Verdict = iota
	Malformed         // against RFC 9113, or fit to become something else on an HTTP/1 connection
	TooLarge          // beyond the limits: the table is in step, the head is not to be used
)

// TableSize is the HPACK table's size, each way, in bytes.
const TableSize = 4 << 10

// maxFrames is how many frames one block may take, and one more for each frameSize bytes that it may have.
const maxFrames, frameSize = 17, 16 << 10

// fieldSize is a field's share of a header list (RFC 9113, 6.5.2).
func fieldSize(f hpack.HeaderField) int { return len(f.Name) + len(f.Value) + 32 }

// Pseudo fields seen, as bits.
const (
	seenMethod = 1 << iota
	seenScheme
	seenAuthority
	seenPath
	seenStatus
	seenRegular
	seenHost
	seenProtocol
)

// Decoder decodes one header block after the other, in the order in which they arrive. Only the goroutine that reads the
// connection uses it. Its exported fields tell of the block that was ended last.
type Decoder struct {
	Head     exchange.Head // to be swapped for another, if it is to be kept
	Kind     Kind
	Verdict  Verdict
	Length   int64         // content-length; -1: none
	Protocol exchange.View // :protocol of an extended CONNECT, nil in other requests; valid as long as Head is

	dec       *hpack.Decoder
	maxSize   int
	maxFields int
	seen      uint8
	size      int
	fields    int
	frames    int
	wire      int
	host      exchange.View
	crumbs    []string // values of cookie fields, to be joined (RFC 9113, 8.2.3)
}

// NewDecoder returns a decoder of blocks of at most size bytes, as RFC 9113 counts a header list, and so many fields.
func NewDecoder(size, fields int) *Decoder {
	b := &Decoder{maxSize: size, maxFields: fields}
	b.dec = hpack.NewDecoder(TableSize, b.field)
	b.dec.SetMaxStringLength(4 * size)
	return b
}

// Begin readies the decoder for a block.
func (b *Decoder) Begin(k Kind) {
	b.Head.Reset()
	b.Kind, b.Verdict, b.seen = k, Good, 0
	b.size, b.fields, b.frames, b.wire, b.Length = 0, 0, 0, 0, -1
	b.host, b.Protocol, b.crumbs = nil, nil, b.crumbs[:0]
	b.dec.SetEmitEnabled(k != Ignored)
}

// Write decodes a fragment. False: the block is beyond what a sane peer sends, or HPACK itself is broken, and with it
// the connection.
func (b *Decoder) Write(p []byte) bool {
	b.frames++
	b.wire += len(p)
	if b.Insane() {
		return false
	}
	_, err := b.dec.Write(p)
	return err == nil
}

// Insane says whether the block is beyond what a sane peer sends.
func (b *Decoder) Insane() bool {
	return b.frames > maxFrames+b.maxSize/frameSize || b.wire > 4*b.maxSize
}

// End closes the block and completes the head; false as with Write.
func (b *Decoder) End() bool {
	if b.dec.Close() != nil {
		return false
	}
	if b.Verdict != Good || b.Kind == Ignored {
		return true
	}
	if b.Length >= 0 && b.Head.Has("trailer") {
		b.Head.Remove("content-length") // HTTP/1 has trailers only after chunks; we check the length ourselves
	}
	switch b.Kind {
	case Request:
		b.endRequest()
	case Response:
		if b.seen&seenStatus == 0 {
			b.Verdict = Malformed
		}
	}
	return true
}

func (b *Decoder) endRequest() {
	h := &b.Head
	if len(b.crumbs) > 0 {
		h.Add("cookie", "")
		h.Fields[len(h.Fields)-1].Value = h.Append(func(dst []byte) []byte {
			for i, c := range b.crumbs {
				if i > 0 {
					dst = append(dst, "; "...)
				}
				dst = append(dst, c...)
			}
			return dst
		})
	}
	if b.seen&seenHost != 0 {
		if b.seen&seenAuthority == 0 {
			h.Authority = b.host
		} else if !b.host.EqualFold(string(h.Authority)) {
			b.Verdict = Malformed
		}
	}
	extended := b.seen&seenProtocol != 0
	connect := h.Method.Is("CONNECT") && !extended
	if b.Length >= 0 && h.Method.Is("CONNECT") { // the tunnel's bytes are no content (RFC 9110, 9.3.6): whoever counts them will miscount
		b.Verdict = Malformed
	}
	if extended && !h.Method.Is("CONNECT") || b.seen&seenMethod == 0 || connect && b.seen&(seenScheme|seenPath) != 0 ||
		!connect && b.seen&(seenScheme|seenPath) != seenScheme|seenPath {
		b.Verdict = Malformed
	}
}

// field takes one decoded field.
func (b *Decoder) field(f hpack.HeaderField) {
	b.size += fieldSize(f)
	if f.Name != "cookie" && !strings.HasPrefix(f.Name, ":") {
		b.fields++ // crumbs of a cookie are one field in the end, and their bytes count
	}
	if b.size > b.maxSize || b.fields > b.maxFields {
		b.judge(TooLarge)
		return
	}
	if strings.HasPrefix(f.Name, ":") {
		if b.Kind == Trailers || b.seen&seenRegular != 0 || !b.pseudo(f) {
			b.judge(Malformed)
		}
		return
	}
	b.seen |= seenRegular
	if !validName(f.Name) || !validValue(f.Value) {
		b.judge(Malformed)
		return
	}
	b.regular(f)
}

// judge ends the interest in the rest of the block; the table stays in step.
func (b *Decoder) judge(v Verdict) {
	b.Verdict = v
	b.dec.SetEmitEnabled(false)
}

func (b *Decoder) regular(f hpack.HeaderField) {
	switch f.Name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		b.judge(Malformed)
		return
	case "te":
		if f.Value != "trailers" {
			b.judge(Malformed)
			return
		}
	case "http2-settings":
		return // of the upgrade that we do not do
	case "host":
		if b.Kind != Request {
			return // it says nothing there, and must not come to say something elsewhere
		}
		if b.seen&seenHost != 0 || !validAuthority(f.Value) {
			b.judge(Malformed)
			return
		}
		b.seen |= seenHost
		b.host = b.Head.Intern(f.Value)
		return
	case "cookie":
		if b.Kind == Request {
			if f.Value != "" {
				b.crumbs = append(b.crumbs, f.Value)
			}
			return
		}
	case "content-length":
		if !b.contentLength(f.Value) {
			b.judge(Malformed)
			return
		}
	}
	h := &b.Head // what Head.Add would look for was looked for above
	h.Fields = append(h.Fields, exchange.Field{Name: h.Intern(f.Name), Value: h.Intern(f.Value)})
}

func (b *Decoder) contentLength(v string) bool {
	if b.Length >= 0 || b.Kind == Trailers || len(v) == 0 || len(v) > 18 {
		return false
	}
	var n int64
	for i := range len(v) {
		if v[i] < '0' || v[i] > '9' {
			return false
		}
		n = n*10 + int64(v[i]-'0')
	}
	b.Length = n
	return true
}

// pseudo takes a pseudo field; false where it is unknown, misplaced, repeated or not well formed.
func (b *Decoder) pseudo(f hpack.HeaderField) bool {
	var bit uint8
	var dst *exchange.View
	ok := false
	switch f.Name {
	case ":method":
		bit, dst, ok = seenMethod, &b.Head.Method, validToken(f.Value)
	case ":scheme":
		bit, dst, ok = seenScheme, &b.Head.Scheme, validToken(f.Value)
	case ":authority":
		bit, dst, ok = seenAuthority, &b.Head.Authority, validAuthority(f.Value)
	case ":path":
		bit, dst, ok = seenPath, &b.Head.Path, validPath(f.Value)
	case ":protocol":
		bit, dst, ok = seenProtocol, &b.Protocol, validToken(f.Value)
	case ":status":
		return b.Kind == Response && b.status(f.Value)
	}
	if !ok || b.Kind != Request || b.seen&bit != 0 {
		return false
	}
	b.seen |= bit
	*dst = b.Head.Intern(f.Value)
	return true
}

func (b *Decoder) status(v string) bool {
	if b.seen&seenStatus != 0 || len(v) != 3 || v[0] < '1' || v[0] > '9' || !digit(v[1]) || !digit(v[2]) {
		return false
	}
	b.seen |= seenStatus
	b.Head.Status = int(v[0]-'0')*100 + int(v[1]-'0')*10 + int(v[2]-'0')
	return b.Head.Status != 101 // RFC 9113, 8.6
}
