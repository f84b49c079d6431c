package http2

import (
	"strings"

	"golang.org/x/net/http2/hpack"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// blockKind is what a header block stands for.
type blockKind uint8

const (
	requestBlock blockKind = iota
	responseBlock
	trailerBlock
	ignoredBlock // decoded only to keep the HPACK table in step
)

// verdict is what a header block is worth.
type verdict uint8

const (
	blockGood verdict = iota
	blockMalformed
	blockTooLarge
)

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

// block decodes one header block after the other, in the order in which they arrive. Only the goroutine that reads the
// connection uses it.
type block struct {
	dec       *hpack.Decoder
	head      exchange.Head
	kind      blockKind
	maxSize   int
	maxFields int

	verdict verdict
	seen    uint8
	size    int
	fields  int
	frames  int
	wire    int
	length  int64 // content-length; -1: none
	host    exchange.View
	proto   exchange.View // :protocol of an extended CONNECT
	crumbs  []string      // values of cookie fields, to be joined (RFC 9113, 8.2.3)
}

func newBlock(l limits) *block {
	b := &block{maxSize: l.head, maxFields: l.fields}
	b.dec = hpack.NewDecoder(tableSize, b.field)
	b.dec.SetMaxStringLength(4 * l.head)
	return b
}

// begin readies the decoder for a block.
func (b *block) begin(k blockKind) {
	b.head.Reset()
	b.kind, b.verdict, b.seen = k, blockGood, 0
	b.size, b.fields, b.frames, b.wire, b.length = 0, 0, 0, 0, -1
	b.host, b.proto, b.crumbs = nil, nil, b.crumbs[:0]
	b.dec.SetEmitEnabled(k != ignoredBlock)
}

// write decodes a fragment. False: the block is beyond what a sane peer sends, or HPACK itself is broken, and with it
// the connection.
func (b *block) write(p []byte) bool {
	b.frames++
	b.wire += len(p)
	if b.frames > maxBlock || b.wire > 4*b.maxSize {
		return false
	}
	_, err := b.dec.Write(p)
	return err == nil
}

// end closes the block and completes the head; false as with write.
func (b *block) end() bool {
	if b.dec.Close() != nil {
		return false
	}
	if b.verdict != blockGood || b.kind == ignoredBlock {
		return true
	}
	if b.length >= 0 && b.head.Has("trailer") {
		b.head.Remove("content-length") // HTTP/1 has trailers only after chunks; we check the length ourselves
	}
	switch b.kind {
	case requestBlock:
		b.endRequest()
	case responseBlock:
		if b.seen&seenStatus == 0 {
			b.verdict = blockMalformed
		}
	}
	return true
}

func (b *block) endRequest() {
	h := &b.head
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
			b.verdict = blockMalformed
		}
	}
	extended := b.seen&seenProtocol != 0
	connect := h.Method.Is("CONNECT") && !extended
	if extended && !h.Method.Is("CONNECT") || b.seen&seenMethod == 0 || connect && b.seen&(seenScheme|seenPath) != 0 ||
		!connect && b.seen&(seenScheme|seenPath) != seenScheme|seenPath {
		b.verdict = blockMalformed
	}
}

// field takes one decoded field.
func (b *block) field(f hpack.HeaderField) {
	b.size += fieldSize(f)
	if f.Name != "cookie" && !strings.HasPrefix(f.Name, ":") {
		b.fields++ // crumbs of a cookie are one field in the end, and their bytes count
	}
	if b.size > b.maxSize || b.fields > b.maxFields {
		b.judge(blockTooLarge)
		return
	}
	if strings.HasPrefix(f.Name, ":") {
		if b.kind == trailerBlock || b.seen&seenRegular != 0 || !b.pseudo(f) {
			b.judge(blockMalformed)
		}
		return
	}
	b.seen |= seenRegular
	if !validName(f.Name) || !validValue(f.Value) {
		b.judge(blockMalformed)
		return
	}
	b.regular(f)
}

// judge ends the interest in the rest of the block; the table stays in step.
func (b *block) judge(v verdict) {
	b.verdict = v
	b.dec.SetEmitEnabled(false)
}

func (b *block) regular(f hpack.HeaderField) {
	switch f.Name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		b.judge(blockMalformed)
		return
	case "te":
		if f.Value != "trailers" {
			b.judge(blockMalformed)
		}
		return // the encoder says it again where it matters
	case "host":
		if b.kind == requestBlock {
			if b.seen&seenHost != 0 || !validAuthority(f.Value) {
				b.judge(blockMalformed)
				return
			}
			b.seen |= seenHost
			b.host = b.head.Intern(f.Value)
			return
		}
	case "cookie":
		if b.kind == requestBlock {
			b.crumbs = append(b.crumbs, f.Value)
			return
		}
	case "content-length":
		if !b.contentLength(f.Value) {
			b.judge(blockMalformed)
			return
		}
	}
	b.head.Add(f.Name, f.Value)
}

func (b *block) contentLength(v string) bool {
	if b.length >= 0 || b.kind == trailerBlock || len(v) == 0 || len(v) > 18 {
		return false
	}
	var n int64
	for i := range len(v) {
		if v[i] < '0' || v[i] > '9' {
			return false
		}
		n = n*10 + int64(v[i]-'0')
	}
	b.length = n
	return true
}

// pseudo takes a pseudo field; false where it is unknown, misplaced, repeated or not well formed.
func (b *block) pseudo(f hpack.HeaderField) bool {
	var bit uint8
	var dst *exchange.View
	ok := false
	switch f.Name {
	case ":method":
		bit, dst, ok = seenMethod, &b.head.Method, validToken(f.Value)
	case ":scheme":
		bit, dst, ok = seenScheme, &b.head.Scheme, validToken(f.Value)
	case ":authority":
		bit, dst, ok = seenAuthority, &b.head.Authority, validAuthority(f.Value)
	case ":path":
		bit, dst, ok = seenPath, &b.head.Path, validPath(f.Value)
	case ":protocol":
		bit, dst, ok = seenProtocol, &b.proto, validToken(f.Value)
	case ":status":
		return b.kind == responseBlock && b.status(f.Value)
	}
	if !ok || b.kind != requestBlock || b.seen&bit != 0 {
		return false
	}
	b.seen |= bit
	*dst = b.head.Intern(f.Value)
	return true
}

func (b *block) status(v string) bool {
	if b.seen&seenStatus != 0 || len(v) != 3 || v[0] < '1' || v[0] > '9' || !digit(v[1]) || !digit(v[2]) {
		return false
	}
	b.seen |= seenStatus
	b.head.Status = int(v[0]-'0')*100 + int(v[1]-'0')*10 + int(v[2]-'0')
	return b.head.Status != 101 // RFC 9113, 8.6
}
