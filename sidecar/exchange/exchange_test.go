package exchange

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestHead(t *testing.T) {
	var h Head
	dump := func() string {
		var b strings.Builder
		for _, f := range h.Fields {
			b.WriteString(f.Name.Copy() + "=" + f.Value.Copy() + " ")
		}
		return strings.TrimSpace(b.String())
	}
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"add", func() { h.Add("a", "1"); h.Add("b", "2"); h.Add("a", "3") }, "a=1 b=2 a=3"},
		{"set replaces all lines", func() { h.Set("a", "4") }, "a=4 b=2"},
		{"set adds", func() { h.SetBytes("c", []byte("5")) }, "a=4 b=2 c=5"},
		{"remove", func() { h.Remove("b") }, "a=4 c=5"},
		{"append", func() { h.AddView(View("d"), h.Append(func(p []byte) []byte { return append(p, "6"...) })) }, "a=4 c=5 d=6"},
		{"reset", func() { h.Reset() }, ""},
	} {
		if step.do(); dump() != step.want {
			t.Errorf("%s: got %q, want %q", step.name, dump(), step.want)
		}
	}
}

func TestInternSurvivesGrowth(t *testing.T) {
	var h Head
	var kept []View
	for range 1000 {
		kept = append(kept, h.Intern("value"))
	}
	for i, v := range kept {
		if !v.Is("value") {
			t.Fatalf("view %d changed to %q", i, v)
		}
	}
	if first := append(kept[0], "!!!"...); !kept[1].Is("value") || first == nil {
		t.Error("appending to a view writes into its neighbour")
	}
}

func TestCopyIsIndependent(t *testing.T) {
	buf := []byte("GET/x")
	a := Head{Method: buf[:3], Path: buf[3:], Fields: []Field{{buf[:3], buf[3:]}}}
	var b Head
	b.CopyFrom(&a)
	clear(buf)
	if !b.Method.Is("GET") || !b.Path.Is("/x") || !b.Fields[0].Value.Is("/x") {
		t.Errorf("got %+v", b)
	}
}

// TestOutcomes: every row says what happened; a row with a status says it to gRPC clients too.
func TestOutcomes(t *testing.T) {
	seen := map[string]Outcome{}
	for o := range outcomes {
		if o.Details() == "" {
			t.Errorf("outcome %d has no details", o)
		}
		if other, twice := seen[o.Details()]; twice {
			t.Errorf("outcomes %d and %d have the same details", o, other)
		}
		seen[o.Details()] = o
		if o.Status() >= 400 && o.GRPC() == 0 {
			t.Errorf("%s: status %d but grpc-status 0", o.Details(), o.Status())
		}
	}
	if s := (FlagUpstreamFailure | FlagRetriesExceeded).String(); s != "UF,URX" {
		t.Errorf("got %s", s)
	}
	if n := len(strings.Fields(flagNames)); Flag(1)<<(n-1) != FlagDownstreamReset || len(strings.Fields(longNames)) != n {
		t.Errorf("%d names for the flags", n)
	}
}

// aborted is a stream that notes Abort.
type aborted struct {
	Stream
	n int
}

func (a *aborted) Abort() { a.n++ }

func TestCancel(t *testing.T) {
	x := &Exchange{}
	x.Reset(&Connection{})
	s := &aborted{}
	if !x.Attach(s) {
		t.Fatal("cancelled from the start")
	}
	go func() {
		time.Sleep(10 * time.Millisecond)
		x.Cancel()
		x.Cancel()
	}()
	if x.Wait(5 * time.Second) {
		t.Error("the wait was not ended")
	}
	for !x.Canceled() {
		time.Sleep(time.Millisecond)
	}
	if x.Attach(s) || s.n != 1 || x.Wait(time.Second) {
		t.Errorf("aborted %d times", s.n)
	}
	if x.Reset(&Connection{}); x.Canceled() {
		t.Error("a new exchange is cancelled")
	}
}

// TestFieldsAreOneLine: whatever a field is made of, it does not end its line and begin another.
func TestFieldsAreOneLine(t *testing.T) {
	const evil, tame = "a\r\nx: y\x00", "a  x: y "
	for name, make := range map[string]func(*Head){
		"Add":               func(h *Head) { h.Add("n", evil) },
		"AddBytes":          func(h *Head) { h.AddBytes("n", []byte(evil)) },
		"AddView":           func(h *Head) { h.AddView(View("n"), View(evil)) },
		"Set":               func(h *Head) { h.Set("n", evil) },
		"SetBytes":          func(h *Head) { h.SetBytes("n", []byte(evil)) },
		"SetView":           func(h *Head) { h.SetView("n", View(evil)) },
		"Set over another":  func(h *Head) { h.Add("n", "old"); h.Set("n", evil) },
		"a name is no line": func(h *Head) { h.Add("n\r\nm", tame) },
	} {
		t.Run(name, func(t *testing.T) {
			var h Head
			make(&h)
			if f := h.Fields[0]; len(h.Fields) != 1 || !f.Value.Is(tame) || !f.Name.Is("n") && !f.Name.Is("n  m") {
				t.Errorf("got %q: %q", f.Name, f.Value)
			}
		})
	}
	given := View(evil)
	var h Head
	h.AddView(View("n"), given)
	if !given.Is(evil) {
		t.Errorf("what was lent was written to: %q", given)
	}
}

// TestBreaksAreFoundAnywhere tries every byte at every place of values of several lengths: only CR, LF and NUL become spaces.
func TestBreaksAreFoundAnywhere(t *testing.T) {
	for _, length := range []int{1, 7, 8, 9, 16, 19} {
		for at := range length {
			for c := range 256 {
				value := bytes.Repeat([]byte("v"), length)
				value[at] = byte(c)
				want := bytes.Clone(value)
				if c == 0 || c == '\r' || c == '\n' {
					want[at] = ' '
				}
				var h Head
				h.AddView(View("n"), value)
				if got := h.Fields[0].Value; !bytes.Equal(got, want) {
					t.Fatalf("byte %#x at %d of %d: got %q", c, at, length, got)
				}
			}
		}
	}
}

func BenchmarkAddView(b *testing.B) {
	for _, length := range []int{5, 20, 100, 1000} {
		b.Run(strconv.Itoa(length), func(b *testing.B) {
			var h Head
			value := View(strings.Repeat("v", length))
			for b.Loop() {
				h.Reset()
				h.AddView(View("name"), value)
			}
		})
	}
}
