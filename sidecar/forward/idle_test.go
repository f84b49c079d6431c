package forward

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// TestIdler: an exchange is ended once nothing has come for as long as the timeout, however often something came before, and never by a timer that was
// set for another.
func TestIdler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = time.Second
		var i idler
		x, next := &exchange.Exchange{}, &exchange.Exchange{}
		i.start(x, most)
		for range 5 {
			time.Sleep(900 * time.Millisecond)
			i.heard()
		}
		i.start(x, most) // another try
		time.Sleep(most - time.Millisecond)
		synctest.Wait()
		if x.Canceled() || !i.counts() {
			t.Fatal("ended too early")
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if !x.Canceled() || !i.stop() || i.stop() {
			t.Error("not ended, or for good")
		}
		i.start(next, most)
		time.Sleep(most / 2)
		if i.stop() {
			t.Error("ended though something came")
		}
		i.start(next, 0)
		time.Sleep(10 * most)
		synctest.Wait()
		if next.Canceled() || i.counts() {
			t.Error("ended after it was stopped")
		}
	})
}
