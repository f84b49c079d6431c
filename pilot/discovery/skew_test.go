package discovery

import (
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/heddle-mesh/heddle/api/wire"
)

// TestSkew goes through what proxies may announce to a control plane that speaks the dialects 2 to 4.
func TestSkew(t *testing.T) {
	for dialect, want := range map[int]string{0: "", 1: "older than the oldest that this control plane speaks, 2", 2: "", 3: "", 4: "", 5: "newer than this control plane's, 4"} {
		if got := skew(dialect, 2, 4); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("dialect %d: %q, want %q", dialect, got, want)
		}
	}
}

// TestANewerDialectIsServedAndTold holds that a proxy ahead of the control plane is served, and that the log and the debug pages say what it is.
func TestANewerDialectIsServedAndTold(t *testing.T) {
	for announced, newer := range map[string]bool{"": false, "2": false, "99": true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.set(wire.TypeCluster, "a", "1")
			l, server, logged := connectLogged(t, w, asWeb, true)
			l.ask(&request{node: proxyNode(announced), typ: wire.TypeCluster, subscribe: []string{"*"}})
			l.want("whoever announces "+announced, "Cluster a=1")
			const says = "announces dialect 99, newer than this control plane's"
			if clients := server.Clients(); len(clients) != 1 || strings.Contains(clients[0].Skew, says) != newer || (clients[0].Skew != "") != newer {
				t.Errorf("%q: the debug page says %+v", announced, clients)
			}
			l.close()
			if strings.Contains(logged.String(), says) != newer {
				t.Errorf("%q: the log says\n%s", announced, logged)
			}
		})
	}
}

// TestADialectThatIsNoneIsRefused holds that its proxy is not taken for a foreign one, which is told without what only ours understand.
func TestADialectThatIsNoneIsRefused(t *testing.T) {
	for _, announced := range []string{"0", "-1", "two", "1.5", "99999999999999999999"} {
		synctest.Test(t, func(t *testing.T) {
			l, _, logged := connectLogged(t, newWorld(), asWeb, true)
			l.ask(&request{node: proxyNode(announced), typ: wire.TypeCluster, subscribe: []string{"*"}})
			if l.said() != "" {
				t.Errorf("%q: it is told something", announced)
			}
			close(l.up)
			if err := <-l.ended; status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "HEDDLE_DIALECT") {
				t.Errorf("%q: the stream ends with %v", announced, err)
			}
			if !strings.Contains(logged.String(), "is no dialect") {
				t.Errorf("%q: the log says\n%s", announced, logged)
			}
		})
	}
}
