package condition

import (
	"strings"
	"testing"
)

type asked struct {
	of []Attribute
	r  request
}

func (v asked) Value(i int) (Value, bool) {
	out, ok := v.r[v.of[i]]
	return out, ok
}

func TestText(t *testing.T) {
	for expression, want := range map[string]string{
		"request.method":             "POST",
		"'constant'":                 "constant",
		"response.code":              "503",
		"string(response.code)":      "503",
		"connection.mtls":            "true",
		"request.headers['x-user']":  "ann",
		"(request.method)":           "POST",
		"request.headers['x-other']": "<nothing>",
		"has(request.headers['x-other']) ? request.headers['x-other'] : 'none'":       "none",
		"has(request.headers['x-user']) ? request.headers['x-user'] : 'none'":         "ann",
		"request.headers['x-other'] == 'a' ? 'yes' : 'no'":                            "<nothing>",
		"response.code < 400 ? 'good' : response.code < 500 ? 'theirs' : 'ours'":      "ours",
		"(response.code >= 400 && request.method == 'POST') ? request.method : 'any'": "POST",
		"!connection.mtls ? 'plain' : (request.path)":                                 "/api/v1?x=y",
	} {
		e, err := ParseText(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		got, ok := e.Append([]byte("before "), asked{e.Attributes, sample()})
		if !ok {
			got = append(got, "<nothing>"...)
		}
		if string(got) != "before "+want {
			t.Errorf("%s: %q, want %q", expression, got, want)
		}
	}
}

func TestTextRefused(t *testing.T) {
	for expression, want := range map[string]string{
		"":                                 "ends too early",
		"request.duration":                 "duration",
		"no.such":                          "not implemented",
		"request.method ? 'a' : 'b'":       "not expected",
		"response.code == 1 ? 'a'":         `":" expected`,
		"response.code == 1 ? 'a' : ":      "ends too early",
		"request.method + 'a'":             "not implemented",
		"string(request.method":            `")" expected`,
		"request.method extra":             `"extra"`,
		"response.code == 1":               "not expected",
		strings.Repeat("(", 200) + "'a'":   "nests deeper",
		"request.headers":                  "name of a header",
		"string(duration('1s'))":           "duration",
		"request.method == 'a' ? 'a' : 1s": "not expected",
	} {
		if _, err := ParseText(expression); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", expression, err, want)
		}
	}
}

func FuzzParseText(f *testing.F) {
	for _, seed := range []string{"request.method", "has(request.path) ? string(response.code) : ('x')", "'a' in request.headers ? 1 : true"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, expression string) {
		e, err := ParseText(expression)
		if err != nil {
			return
		}
		e.Append(nil, asked{e.Attributes, sample()})
		e.Append(nil, asked{e.Attributes, nil})
	})
}
