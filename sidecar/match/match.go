// Package match compares strings the way xDS string matchers do. Matchers are compiled when configuration arrives; comparing
// allocates nothing. It must not know what the strings mean.
package match

import (
	"fmt"
	"regexp"
	"strings"
)

// Kind says how a String compares.
type Kind uint8

// The kinds.
const (
	Exact Kind = iota
	Prefix
	Suffix
	Contains
	Regex // RE2, the whole value
)

// Config describes a String.
type Config struct {
	Kind       Kind
	Value      string
	IgnoreCase bool // ASCII; not with Regex
}

// String is a compiled Config. The zero String matches only the empty string.
type String struct {
	config Config
	regex  *regexp.Regexp
}

// New compiles c.
func New(c Config) (String, error) {
	if c.Kind != Regex {
		return String{config: c}, nil
	}
	if c.IgnoreCase {
		return String{}, fmt.Errorf("regex %q: ignore_case does not apply to it", c.Value)
	}
	if _, err := regexp.Compile(c.Value); err != nil { // "a)|(b" would fit into the group below
		return String{}, fmt.Errorf("regex %q: %w", c.Value, err)
	}
	re, err := regexp.Compile("^(?:" + c.Value + ")$")
	if err != nil {
		return String{}, fmt.Errorf("regex %q: %w", c.Value, err)
	}
	return String{config: c, regex: re}, nil
}

// Config returns what s was made of.
func (s *String) Config() Config { return s.config }

// Match says whether text matches.
func (s *String) Match(text string) bool {
	value, n := s.config.Value, len(s.config.Value)
	switch s.config.Kind {
	case Exact:
		return len(text) == n && (text == value || s.config.IgnoreCase && equalFold(text, value))
	case Prefix:
		return len(text) >= n && (text[:n] == value || s.config.IgnoreCase && equalFold(text[:n], value))
	case Suffix:
		return len(text) >= n && (text[len(text)-n:] == value || s.config.IgnoreCase && equalFold(text[len(text)-n:], value))
	case Contains:
		return contains(text, value, s.config.IgnoreCase)
	case Regex:
		return s.regex.MatchString(text)
	}
	return false
}

// MatchBytes is Match for bytes.
func (s *String) MatchBytes(text []byte) bool {
	value, n := s.config.Value, len(s.config.Value)
	switch s.config.Kind {
	case Exact:
		return len(text) == n && (string(text) == value || s.config.IgnoreCase && equalFold(text, value))
	case Prefix:
		return len(text) >= n && (string(text[:n]) == value || s.config.IgnoreCase && equalFold(text[:n], value))
	case Suffix:
		return len(text) >= n && (string(text[len(text)-n:]) == value || s.config.IgnoreCase && equalFold(text[len(text)-n:], value))
	case Contains:
		return contains(text, value, s.config.IgnoreCase)
	case Regex:
		return s.regex.Match(text)
	}
	return false
}

func contains[T string | []byte](text T, value string, fold bool) bool {
	for i := 0; i+len(value) <= len(text); i++ {
		if equalAt(text, i, value, fold) {
			return true
		}
	}
	return false
}

func equalFold[T string | []byte](text T, value string) bool { return equalAt(text, 0, value, true) }

// equalAt compares value with as many bytes of text from at on.
func equalAt[T string | []byte](text T, at int, value string, fold bool) bool {
	for i := range len(value) {
		if a, b := text[at+i], value[i]; a != b && (!fold || lower(a) != lower(b)) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// Text prints s for dumps: exact:value, i:prefix:value.
func (s *String) Text() string {
	var b strings.Builder
	if s.config.IgnoreCase {
		b.WriteString("i:")
	}
	b.WriteString([...]string{"exact", "prefix", "suffix", "contains", "regex"}[s.config.Kind])
	b.WriteString(":")
	b.WriteString(s.config.Value)
	return b.String()
}
