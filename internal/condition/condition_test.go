package condition

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// request is what attributes are worth.
type request map[Attribute]Value

type values struct {
	of *Condition
	r  request
}

func (v values) Value(i int) (Value, bool) {
	out, ok := v.r[v.of.Attributes[i]]
	return out, ok
}

func text(name, key, value string) (Attribute, Value) {
	return Attribute{name, key, Text}, Value{Text: []byte(value)}
}

func sample() request {
	out := request{{Name: "response.code", Kind: Int}: {Int: 503}, {Name: "connection.mtls", Kind: Bool}: {Int: 1},
		{Name: "request.duration", Kind: Duration}: {Int: int64(1500 * time.Millisecond)}}
	for _, t := range [][3]string{{"request.path", "", "/api/v1?x=y"}, {"request.method", "", "POST"}, {"request.headers", "x-user", "ann"}} {
		a, v := text(t[0], t[1], t[2])
		out[a] = v
	}
	return out
}

func TestHolds(t *testing.T) {
	for expression, want := range map[string]bool{
		"response.code >= 400":                                      true,
		"response.code<500":                                         false,
		"response.code == 503 && request.method == 'POST'":          true,
		`request.method != "POST" || response.code > 502`:           true,
		"!(response.code == 503)":                                   false,
		"response.code in [500, 502, 503]":                          true,
		"request.method in ['GET', 'HEAD']":                         false,
		"request.path.startsWith('/api')":                           true,
		"request.path.endsWith('y') && request.path.contains('v1')": true,
		"request.path.matches('^/api/v[0-9]')":                      true,
		"connection.mtls":                                           true,
		"connection.mtls == false":                                  false,
		"!connection.mtls":                                          false,
		"request.duration > duration('1s')":                         true,
		"request.duration >= duration(\"2s\")":                      false,
		"request.headers['X-User'] == 'ann'":                        true,
		"request.headers.host == 'a'":                               false,
		"'x-user' in request.headers":                               true,
		"'x-other' in request.headers":                              false,
		"has(request.headers['x-other'])":                           false,
		"has(request.path)":                                         true,
		"true":                                                      true,
		"1 == 2":                                                    false,
		// what is not there decides nothing
		"request.headers['x-other'] != 'a'":                            false,
		"!(request.headers['x-other'] == 'a')":                         false,
		"request.headers['x-other'] == 'a' || response.code == 503":    true,
		"request.headers['x-other'] == 'a' && response.code == 200":    false,
		"response.code == 200 || request.headers['x-other'] == 'a'":    false,
		"response.code > 1 && response.code < 2 || response.code != 3": true,
	} {
		c, err := Parse(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if got := c.Holds(values{c, sample()}); got != want {
			t.Errorf("%s: %v", expression, got)
		}
	}
}

func TestRefused(t *testing.T) {
	for expression, want := range map[string]string{
		"":                                      "ends too early",
		"response.code":                         "comparison is expected",
		"response.code >":                       "ends too early",
		"response.code == '503'":                "int cannot be compared with string",
		"response.flags == 1":                   `attribute "response.flags" is not implemented`,
		"response.code + 1 == 2":                "not implemented",
		"response.code == 1 extra":              `"extra"`,
		"(response.code == 1":                   `")" expected`,
		"request.path.size() > 1":               `"size" is not implemented`,
		"request.path.matches('(')":             "matches",
		"request.path.contains(request.id)":     "constant string",
		"request.headers == 'a'":                "name of a header",
		"request.headers[1] == 'a'":             "name of a header",
		"connection.mtls > true":                "truth values",
		"request.path in request.headers":       "name of a header",
		"response.code in [1, 'a']":             "compared",
		"response.code in [1 2]":                `"," expected`,
		"has(1)":                                "attribute is expected",
		"has(request.host) == false":            "not expected",
		"request.duration > duration('x')":      "duration",
		"response.code == 99999999999999999999": "no number",
		"'a\\'b' == 'c'":                        "not implemented",
		strings.Repeat("(", 200) + "true":       "nests deeper",
	} {
		if _, err := Parse(expression); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", expression, err, want)
		}
	}
}

// TestAttributesAreAskedOnce: one attribute has one place, however often the expression names it.
func TestAttributesAreAskedOnce(t *testing.T) {
	c, err := Parse("response.code == 1 || response.code == 2 || request.headers['a'] == 'b' || 'A' in request.headers")
	if err != nil || len(c.Attributes) != 2 {
		t.Fatalf("%v, %v", c, err)
	}
	if !slices.IsSorted(Names()) || !slices.Contains(Names(), "response.code") {
		t.Errorf("%v", Names())
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"response.code >= 400 && has(request.path)", "!(connection.mtls) || 'a' in request.headers", "request.path.matches('a') == true"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, expression string) {
		c, err := Parse(expression)
		if err != nil {
			return
		}
		if c.Holds(values{c, sample()}) {
			c.Holds(values{c, nil})
		}
	})
}
