package exchange

import (
	"bytes"
	"encoding/binary"
)

// Field is one header line. Name is lower case, always: codecs make it so when they read.
type Field struct {
	Name, Value View
}

// Head is the head (or the trailers) of a request or response, independent of the protocol that carries it.
//
// The authority is never among Fields: HTTP/1's Host and HTTP/2's :authority both arrive in Authority. Hop-by-hop
// fields (connection, transfer-encoding, keep-alive, te, upgrade, ...) and content-length's framing role belong to the
// codecs; content-length itself stays among Fields. The zero Head is ready for use and Reset keeps its memory.
type Head struct {
	Method, Scheme, Authority, Path View // requests; Path includes the query
	Status                          int  // responses
	Fields                          []Field

	arena []byte
}

// mostKept is how much memory of its own an empty head keeps: that of the longest ones, where nobody asks for longer.
const mostKept = 128 << 10

// Reset empties the head and keeps its memory.
func (h *Head) Reset() {
	if cap(h.arena) > mostKept {
		h.arena = nil
	}
	clear(h.Fields)
	*h = Head{Fields: h.Fields[:0], arena: h.arena[:0]}
}

// Intern copies s into the head's own memory and returns the copy.
func (h *Head) Intern(s string) View {
	n := len(h.arena)
	h.arena = append(h.arena, s...)
	return h.arena[n:len(h.arena):len(h.arena)]
}

// InternBytes is Intern for bytes.
func (h *Head) InternBytes(p []byte) View {
	n := len(h.arena)
	h.arena = append(h.arena, p...)
	return h.arena[n:len(h.arena):len(h.arena)]
}

// Append lets build extend a value in the head's own memory, without an allocation once it is warm.
func (h *Head) Append(build func(dst []byte) []byte) View {
	n := len(h.arena)
	h.arena = build(h.arena)
	return h.arena[n:len(h.arena):len(h.arena)]
}

// Joined returns all values of a field, separated by commas.
func (h *Head) Joined(name string) View {
	if h.Count(name) <= 1 {
		return h.Get(name)
	}
	return h.Append(func(dst []byte) []byte {
		n := len(dst)
		for _, f := range h.Fields {
			if !f.Name.Is(name) {
				continue
			}
			if len(dst) > n {
				dst = append(dst, ',')
			}
			dst = append(dst, f.Value...)
		}
		return dst
	})
}

// Get returns the first value of a field, nil where it is absent. The name must be lower case.
func (h *Head) Get(name string) View {
	if i := h.index(name, 0); i >= 0 {
		return h.Fields[i].Value
	}
	return nil
}

// index finds the first line of a field from a place on; -1: there is none.
func (h *Head) index(name string, from int) int {
	for i := from; i < len(h.Fields); i++ {
		if string(h.Fields[i].Name) == name {
			return i
		}
	}
	return -1
}

// Has says whether a field is present, be its value empty or not.
func (h *Head) Has(name string) bool { return h.index(name, 0) >= 0 }

// Count returns how many lines a field has.
func (h *Head) Count(name string) int {
	n := 0
	for i := range h.Fields {
		if string(h.Fields[i].Name) == name {
			n++
		}
	}
	return n
}

// HasTarget says whether a request asks for something that a request line can name (RFC 9112, 3.2): a path from the root, all of the server, or, to
// CONNECT, an authority.
func (h *Head) HasTarget() bool {
	return len(h.Path) > 0 && h.Path[0] == '/' || h.Method.Is("CONNECT") || h.Path.Is("*") && h.Method.Is("OPTIONS")
}

// Add appends a field after all others. Name and value are copied.
func (h *Head) Add(name, value string) {
	h.Fields = append(h.Fields, h.line(h.Intern(name), h.Intern(value)))
}

// AddBytes is Add for a value in bytes.
func (h *Head) AddBytes(name string, value []byte) {
	h.Fields = append(h.Fields, h.line(h.Intern(name), h.InternBytes(value)))
}

// AddView appends a field without copying: both views must outlive the head.
func (h *Head) AddView(name, value View) {
	h.Fields = append(h.Fields, h.line(name, value))
}

// line makes a field. Codecs check what they parse and fill Fields themselves; all other fields are made here, so that no source of them (a
// certificate, a configuration, a filter's facts) can end a line and begin another on the wire.
func (h *Head) line(name, value View) Field { return Field{h.oneLine(name), h.oneLine(value)} }

// oneLine returns v with spaces for CR, LF and NUL (RFC 9110, 5.5): a copy, in the rare case that there are any.
func (h *Head) oneLine(v View) View {
	if !breaks(v) {
		return v
	}
	v = h.InternBytes(v)
	for i, c := range v {
		if c == '\n' || c == '\r' || c == 0 {
			v[i] = ' '
		}
	}
	return v
}

// breaks says whether v has a CR, LF or NUL. It looks at eight bytes at a time: in what has none of those that are less than 0x0e, subtracting that
// from each borrows from none.
func breaks(v View) bool {
	const low, high = 0x0e0e0e0e0e0e0e0e, 0x8080808080808080
	i := 0
	for ; i+8 <= len(v); i += 8 {
		if w := binary.LittleEndian.Uint64(v[i:]); (w-low)&^w&high != 0 && broken(v[i:i+8]) {
			return true
		}
	}
	return broken(v[i:])
}

func broken(v View) bool {
	for _, c := range v {
		if c == '\n' || c == '\r' || c == 0 {
			return true
		}
	}
	return false
}

// Set gives a field one value: the first line is overwritten, further ones are removed, a missing one is added.
func (h *Head) Set(name, value string) { h.SetView(name, h.Intern(value)) }

// SetBytes is Set for a value in bytes.
func (h *Head) SetBytes(name string, value []byte) { h.SetView(name, h.InternBytes(value)) }

// SetView is Set without copying the value, which must outlive the head.
func (h *Head) SetView(name string, value View) {
	first := h.index(name, 0)
	if first < 0 {
		h.Fields = append(h.Fields, h.line(h.Intern(name), value))
		return
	}
	h.Fields[first].Value = h.oneLine(value)
	h.drop(first+1, func(f Field) bool { return string(f.Name) == name })
}

// Remove drops every line of a field.
func (h *Head) Remove(name string) {
	if first := h.index(name, 0); first >= 0 {
		h.drop(first, func(f Field) bool { return string(f.Name) == name })
	}
}

// RemoveIf drops every field that drop chooses and keeps the order of the others.
func (h *Head) RemoveIf(drop func(Field) bool) { h.drop(0, drop) }

// drop is RemoveIf from a place on. Most often there is nothing to drop: then no field moves.
func (h *Head) drop(from int, drop func(Field) bool) {
	for from < len(h.Fields) && !drop(h.Fields[from]) {
		from++
	}
	if from == len(h.Fields) {
		return
	}
	kept := h.Fields[:from]
	for _, f := range h.Fields[from+1:] {
		if !drop(f) {
			kept = append(kept, f)
		}
	}
	clear(h.Fields[len(kept):])
	h.Fields = kept
}

// CopyFrom makes h an independent copy of o.
func (h *Head) CopyFrom(o *Head) {
	h.Reset()
	h.Status = o.Status
	h.Method, h.Scheme = h.InternBytes(o.Method), h.InternBytes(o.Scheme)
	h.Authority, h.Path = h.InternBytes(o.Authority), h.InternBytes(o.Path)
	for _, f := range o.Fields {
		h.Fields = append(h.Fields, Field{h.InternBytes(f.Name), h.InternBytes(f.Value)})
	}
}

// Cookie returns the first cookie of a name (RFC 6265, section 4.2), without quotes; empty where there is none.
func (h *Head) Cookie(name string) View {
	for i := range h.Fields {
		if string(h.Fields[i].Name) != "cookie" {
			continue
		}
		for rest := h.Fields[i].Value; len(rest) > 0; {
			var pair View
			pair, rest, _ = rest.cut(';')
			key, value, found := View(bytes.TrimLeft(pair, " \t")).cut('=')
			if !found || !key.Is(name) {
				continue
			}
			if value = bytes.TrimRight(value, " \t"); len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
				value = value[1 : len(value)-1]
			}
			return value
		}
	}
	return nil
}

// cut splits at the first of a byte.
func (v View) cut(at byte) (before, after View, found bool) {
	if i := bytes.IndexByte(v, at); i >= 0 {
		return v[:i], v[i+1:], true
	}
	return v, nil, false
}
