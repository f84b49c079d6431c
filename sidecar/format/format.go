// Package format compiles texts with Envoy's command operators (%REQ(x)%, %RESPONSE_CODE%, ...) once, so that access logs
// and header values are only appended per request. It reads exchanges and never changes them; it must not do I/O.
package format

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// part appends a literal or the value of an operator.
type part struct {
	literal string
	op      operator // nil: a literal
	limit   int      // most bytes of the operator's value; 0: no limit
	number  bool     // the operator's value is a number
}

// operator appends its value; nothing where there is none.
type operator func(dst []byte, x *exchange.Exchange) []byte

// Format is a compiled text. It is immutable.
type Format struct {
	parts   []part
	missing string
}

// New compiles text. missing stands where an operator has no value: "-" in access logs, nothing in headers. "%%" is a percent sign.
func New(text, missing string) (*Format, error) {
	f := &Format{missing: missing}
	for text != "" {
		i := strings.IndexByte(text, '%')
		switch {
		case i < 0:
			f.parts, text = append(f.parts, part{literal: text}), ""
		case i > 0:
			f.parts, text = append(f.parts, part{literal: text[:i]}), text[i:]
		case strings.HasPrefix(text, "%%"):
			f.parts, text = append(f.parts, part{literal: "%"}), text[2:]
		default:
			p, rest, err := compileOperator(text[1:])
			if err != nil {
				return nil, err
			}
			f.parts, text = append(f.parts, p), rest
		}
	}
	return f, nil
}

// NewJSON is New for a value in JSON: an operator that stands alone is nothing where it has no value, since there null can say so.
func NewJSON(text string) (*Format, error) {
	f, err := New(text, "-")
	if err == nil && len(f.parts) == 1 {
		f.missing = ""
	}
	return f, err
}

// Append appends the text for x.
func (f *Format) Append(dst []byte, x *exchange.Exchange) []byte {
	for i := range f.parts {
		p := &f.parts[i]
		if p.op == nil {
			dst = append(dst, p.literal...)
			continue
		}
		n := len(dst)
		dst = p.op(dst, x)
		if p.limit > 0 {
			dst = dst[:min(len(dst), n+p.limit)]
		}
		if len(dst) == n {
			dst = append(dst, f.missing...)
		}
	}
	return dst
}

// Static reports whether the text holds no operator.
func (f *Format) Static() bool {
	for i := range f.parts {
		if f.parts[i].op != nil {
			return false
		}
	}
	return true
}

// Number reports whether the text is one operator whose value is a number.
func (f *Format) Number() bool { return len(f.parts) == 1 && f.parts[0].number }

// compileOperator reads NAME%, NAME(ARG)% or NAME(ARG):LENGTH% and returns what follows it.
func compileOperator(s string) (part, string, error) {
	// An argument may itself hold percent signs: START_TIME(%s).
	end, open := -1, 0
	for i := 0; i < len(s) && end < 0; i++ {
		switch s[i] {
		case '(':
			open++
		case ')':
			open--
		case '%':
			if open == 0 {
				end = i
			}
		}
	}
	if end < 0 {
		return part{}, "", errors.New("operator without closing %")
	}
	p, err := parseOperator(s[:end])
	return p, s[end+1:], err
}

func parseOperator(s string) (part, error) {
	name, arg, limit := s, "", 0
	if i := strings.IndexByte(s, '('); i >= 0 {
		j := strings.LastIndexByte(s, ')')
		if j < i {
			return part{}, fmt.Errorf("operator %%%s%%: unbalanced parentheses", s)
		}
		name, arg = s[:i], s[i+1:j]
		if rest := s[j+1:]; rest != "" {
			n, err := strconv.Atoi(strings.TrimPrefix(rest, ":"))
			if err != nil || n <= 0 || rest[0] != ':' {
				return part{}, fmt.Errorf("operator %%%s%%: bad length %q", s, rest)
			}
			limit = n
		}
	}
	if op, err := argumentOperator(name, arg); op != nil || err != nil {
		return part{op: op, limit: limit}, err
	}
	if arg != "" {
		return part{}, fmt.Errorf("operator %%%s%%: not supported", s)
	}
	if op := numberOperator(name); op != nil {
		return part{op: op, limit: limit, number: true}, nil
	}
	for _, find := range []func(string) operator{exchangeOperator, addressOperator, tlsOperator} {
		if op := find(name); op != nil {
			return part{op: op, limit: limit}, nil
		}
	}
	return part{}, fmt.Errorf("operator %%%s%%: not supported", s)
}
