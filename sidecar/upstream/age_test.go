package upstream

import (
	"testing"
	"time"
)

// TestConnectionsAge: a connection that is too old takes no new exchange; what it carries goes on; one that is idle closes at once.
func TestConnectionsAge(t *testing.T) {
	for name, protocol := range map[string]WireProtocol{"HTTP/1.1": UseHTTP1, "HTTP/2": UseHTTP2} {
		t.Run(name, func(t *testing.T) {
			const age = 100 * time.Millisecond
			c, wires, closed := pooled(t, Config{Protocol: protocol, MaxDuration: age})
			idle := func(want int32) {
				t.Helper()
				for range 200 {
					if closed.Load() == want {
						return
					}
					time.Sleep(5 * time.Millisecond)
				}
				t.Fatalf("%d connections closed, want %d", closed.Load(), want)
			}
			l := open(t, c)
			l.Close(time.Time{})
			if again := open(t, c); !again.Reused() {
				t.Error("a young connection was not used again")
			} else {
				time.Sleep(2 * age)
				if closed.Load() != 0 {
					t.Error("an exchange was cut")
				}
				other := open(t, c)
				if other.Reused() || len(*wires) != 2 {
					t.Error("an old connection took an exchange")
				}
				again.Close(time.Time{})
				idle(1)
				other.Close(time.Time{})
			}
			idle(2)
			if n := c.connections.Load(); n != 0 {
				t.Errorf("%d connections counted after all closed", n)
			}
		})
	}
}
