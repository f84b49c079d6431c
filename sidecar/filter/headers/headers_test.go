package headers

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

func request() *exchange.Exchange {
	x := &exchange.Exchange{}
	x.Reset(&exchange.Connection{
		Source:      netip.MustParseAddrPort("10.0.0.7:4711"),
		Destination: netip.MustParseAddrPort("10.0.0.9:80"),
		Security:    &exchange.Security{Version: "TLSv1.3", Subject: "CN=a\r\nevil: 1"},
	})
	x.Request.Method, x.Request.Path = exchange.View("GET"), exchange.View("/a?b")
	x.Request.Add("x-a", "one")
	x.Request.Add("x-b", "two")
	x.Request.Add("x-a", "three")
	return x
}

func dump(h *exchange.Head) string {
	var b strings.Builder
	for _, f := range h.Fields {
		b.WriteString(f.Name.Copy() + "=" + f.Value.Copy() + ";")
	}
	return b.String()
}

func TestApply(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		want   string
	}{
		"nothing":                        {Config{}, "x-a=one;x-b=two;x-a=three;"},
		"remove takes every line":        {Config{Remove: []string{"X-A"}}, "x-b=two;"},
		"append":                         {Config{Add: []Op{{"X-B", "z", Append}}}, "x-a=one;x-b=two;x-a=three;x-b=z;"},
		"overwrite leaves one line":      {Config{Add: []Op{{"x-a", "z", Overwrite}}}, "x-a=z;x-b=two;"},
		"if absent, present":             {Config{Add: []Op{{"x-a", "z", IfAbsent}}}, "x-a=one;x-b=two;x-a=three;"},
		"if absent, absent":              {Config{Add: []Op{{"x-c", "z", IfAbsent}}}, "x-a=one;x-b=two;x-a=three;x-c=z;"},
		"replace, absent":                {Config{Add: []Op{{"x-c", "z", Replace}}}, "x-a=one;x-b=two;x-a=three;"},
		"remove comes first":             {Config{Remove: []string{"x-a"}, Add: []Op{{"x-a", "z", Append}}}, "x-b=two;x-a=z;"},
		"facts":                          {Config{Remove: []string{"x-a", "x-b"}, Add: []Op{{"f", "%REQ(:METHOD)% %REQ(X-NO?:PATH)% %DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_TLS_VERSION% 100%%", Append}}}, "f=GET /a?b 10.0.0.7:4711 TLSv1.3 100%;"},
		"length":                         {Config{Remove: []string{"x-a", "x-b"}, Add: []Op{{"f", "%REQ(:PATH):2%", Append}}}, "f=/a;"},
		"an empty value is not added":    {Config{Add: []Op{{"f", "%REQ(nope)%", Append}}}, "x-a=one;x-b=two;x-a=three;"},
		"control bytes stay out":         {Config{Remove: []string{"x-a", "x-b"}, Add: []Op{{"f", "%DOWNSTREAM_PEER_SUBJECT%", Append}}}, "f=CN=aevil: 1;"},
		"removing what was never there":  {Config{Remove: []string{"nope"}}, "x-a=one;x-b=two;x-a=three;"},
		"overwriting with an own header": {Config{Add: []Op{{"x-b", "%REQ(x-b)%-%REQ(x-a)%", Overwrite}}}, "x-a=one;x-b=two-one;x-a=three;"},
	} {
		t.Run(name, func(t *testing.T) {
			ops, err := New(c.config)
			if err != nil {
				t.Fatal(err)
			}
			x := request()
			ops.Apply(&x.Request, x)
			if got := dump(&x.Request); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"remove[0]":    {Remove: []string{"Host"}},
		"add[0].name":  {Add: []Op{{":path", "/", Append}}},
		"not a header": {Add: []Op{{"a b", "/", Append}}},
		"NOPE":         {Add: []Op{{"a", "%NOPE%", Append}}},
		"closing":      {Add: []Op{{"a", "5%", Append}}},
		"length":       {Add: []Op{{"a", "%REQ(a):x%", Append}}},
		"control":      {Add: []Op{{"a", "b\r\nc", Append}}},
	} {
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
