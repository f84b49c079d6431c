package http1

import (
	"net"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// TestWriteStall: whoever takes nothing is given up, whoever takes a little is not.
func TestWriteStall(t *testing.T) {
	for name, takes := range map[string]bool{"nothing": false, "a little": true} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer ours.Close()
			defer theirs.Close()
			if takes {
				go func() {
					var p [1]byte
					for {
						if _, err := theirs.Read(p[:]); err != nil {
							return
						}
						time.Sleep(10 * time.Millisecond)
					}
				}()
			}
			s := sink{nc: ours, stall: 100 * time.Millisecond}
			s.begin()
			begun := time.Now()
			err := s.write(make([]byte, 30))
			if err == nil {
				err = s.flush()
			}
			if takes && (err != nil || time.Since(begun) < 200*time.Millisecond) || !takes && err != exchange.ErrTimeout {
				t.Errorf("got %v after %v", err, time.Since(begun))
			}
		})
	}
}
