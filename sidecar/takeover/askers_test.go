package takeover

import (
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/internal/ports"
)

// TestManyAsk: a process that has asked and then hangs is in nobody's way. The first one that is ready serves; the others, whenever they come to be, accept
// nothing, open nothing, and learn why.
func TestManyAsk(t *testing.T) {
	dir := t.TempDir()
	path, app, late := filepath.Join(dir, "sockets"), filepath.Join(dir, "app"), ports.Address(t)
	before, hangs, slow, opens, looks, quick := sockets(), sockets(), sockets(), sockets(), sockets(), sockets()
	first := openBoth(t, before, "first", ports.Address(t), app)
	end := ending(t, before, path)
	for s, word := range map[*Sockets]string{hangs: "hangs", slow: "slow", opens: "opens", looks: "looks"} {
		ask(t, s, path)
		openBoth(t, s, word, first.tcp.Addr().String(), app)
	}
	if looks.Taken() {
		t.Error("before anybody is ready somebody has taken over")
	}
	ask(t, quick, path)
	second := openBoth(t, quick, "quick", first.tcp.Addr().String(), app)
	if err := quick.Serve(); err != nil {
		t.Fatal(err)
	}
	greet(listen(t, quick, "tcp4", late), "quick")
	if !before.Taken() || quick.Taken() {
		t.Errorf("the first's are taken: %t, those of the next: %t", before.Taken(), quick.Taken())
	}
	if err := slow.Serve(); !errors.Is(err, ErrTaken) {
		t.Errorf("the slow one serves: %v", err)
	}
	if l, err := opens.Listen("tcp4", late); err == nil {
		l.Close()
		t.Error("one that is too late opens what is open")
	}
	if !opens.Taken() || !errors.Is(opens.Serve(), ErrTaken) {
		t.Error("asking again it does not learn that it is too late")
	}
	for until := time.Now().Add(30 * time.Second); !looks.Taken(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("one that is not ready does not learn that it is too late")
		}
	}
	first.close()
	end()
	if err := hangs.Serve(); !errors.Is(err, ErrTaken) {
		t.Errorf("the one that hung serves: %v", err)
	}
	for range 10 {
		for _, at := range []net.Listener{second.tcp, second.app} {
			if got := greeting(t, at.Addr().Network(), at.Addr().String()); got != "quick" {
				t.Errorf("the %s answers at %s", got, at.Addr())
			}
		}
	}
	for _, s := range []*Sockets{hangs, slow, opens, looks} {
		for h := range s.open {
			h.Close()
		}
	}
	if got := greeting(t, "unix", app); got != "quick" {
		t.Errorf("the %s answers when the others have ended", got)
	}
	second.close()
	pathGoes(t, app)
}
