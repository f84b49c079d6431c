package exchange

// View is borrowed bytes: valid only until the exchange it came from finishes (or until the next read, where a method
// says so). Whoever keeps it longer keeps a Copy.
type View []byte

// Copy returns the bytes as a string of its own: the only way out of a borrowed view.
func (v View) Copy() string { return string(v) }

// Is says whether the view holds exactly s.
func (v View) Is(s string) bool { return string(v) == s }

// EqualFold says whether the view holds s, ignoring ASCII case.
func (v View) EqualFold(s string) bool {
	if len(v) != len(s) {
		return false
	}
	for i := range v {
		if lower(v[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

// HasPrefix says whether the view begins with s.
func (v View) HasPrefix(s string) bool { return len(v) >= len(s) && string(v[:len(s)]) == s }

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// HexDigit returns the value of a hexadecimal digit, -1 where c is none.
func HexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// TokenByte says whether c may stand in a header name or a method (RFC 9110, token).
func TokenByte(c byte) bool { return tokens[c] }

// tokens is never written.
var tokens = func() (t [256]bool) {
	for c := range t {
		b := byte(c)
		t[c] = 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()
