package forward

import (
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream/outlier"
)

// TestMirrorsAreBounded: copies for a cluster that takes them and does not answer cost no more than so many, and so much memory.
func TestMirrorsAreBounded(t *testing.T) {
	p := &Proxy{}
	for i := range maxMirrors {
		if !p.mirrors.begin() {
			t.Fatalf("the copy %d is refused", i)
		}
	}
	if p.mirrors.begin() {
		t.Error("one more than there may be")
	}
	piece := make(exchange.View, maxMirrored)
	var held []*mirror
	for range bodyMemory / maxMirrored {
		m := &mirror{p: p}
		if m.add(piece, true); m.tooLong || !m.complete {
			t.Fatal("there is room")
		}
		held = append(held, m)
	}
	last := &mirror{p: p}
	if last.add(piece[:1], true); !last.tooLong {
		t.Error("more bytes than may be kept")
	}
	last.send()
	for _, m := range held {
		m.done()
	}
	if n := p.mirrors.bytes.Load(); n != 0 {
		t.Errorf("%d bytes are counted though nothing is kept", n)
	}
	if !p.mirrors.begin() {
		t.Error("no place though some have gone")
	}
	long := &mirror{p: p}
	long.add(piece, false)
	if long.add(piece[:1], true); !long.tooLong || p.mirrors.bytes.Load() != 0 {
		t.Errorf("a long body: %v, %d bytes counted", long.tooLong, p.mirrors.bytes.Load())
	}
}

// TestJudged: what counts for outlier detection is Envoy's HTTP status for a grpc-status in the head.
func TestJudged(t *testing.T) {
	for name, c := range map[string]struct {
		grpc   bool
		status int
		code   string
		want   int
	}{
		"HTTP": {false, 503, "0", 503}, "no grpc-status": {true, 200, "", 200}, "ok": {true, 200, "0", 200}, "unavailable": {true, 200, "14", 503},
		"deadline": {true, 200, "4", 504}, "internal": {true, 200, "13", 500}, "not found": {true, 200, "5", 404}, "made up": {true, 200, "99", 500},
	} {
		x := &exchange.Exchange{GRPC: c.grpc}
		if x.Response.Status = c.status; c.code != "" {
			x.Response.Add("grpc-status", c.code)
		}
		if got := judged(x); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// TestResult: what a response says of its host: by its class, or by what is named an error, whatever gRPC says.
func TestResult(t *testing.T) {
	for _, c := range []struct {
		grpc   bool
		status int
		code   string
		errors []int
		want   outlier.Result
	}{
		{false, 200, "", nil, outlier.Good}, {false, 429, "", nil, outlier.Good}, {false, 500, "", nil, outlier.Server}, {false, 503, "", nil, outlier.Gateway}, {true, 200, "14", nil, outlier.Gateway},
		{false, 429, "", []int{429, 503}, outlier.Server}, {false, 503, "", []int{429, 503}, outlier.Gateway}, {false, 500, "", []int{429, 503}, outlier.Good}, {false, 200, "", []int{429}, outlier.Good},
		{true, 200, "14", []int{429}, outlier.Good}, {true, 200, "0", []int{200}, outlier.Server},
	} {
		x := &exchange.Exchange{GRPC: c.grpc}
		if x.Response.Status = c.status; c.code != "" {
			x.Response.Add("grpc-status", c.code)
		}
		if got := result(x, c.errors); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}
