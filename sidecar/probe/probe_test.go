package probe

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
)

// TestThresholds holds when a change is told, and that it is told once.
func TestThresholds(t *testing.T) {
	for _, c := range []struct {
		why, answers string // y: it succeeds, n: it fails, one for each period
		probe        Probe
		want         []string
	}{
		{"one success, three failures", "yynnyynnnnyn", Probe{}, []string{"0s healthy", "1m20s ill", "1m40s healthy"}},
		{"never well", "nnnn", Probe{}, []string{"20s ill"}},
		{"as the probe says", "yyynny", Probe{Delay: 5 * time.Second, Period: time.Second, Success: 2, Failure: 1}, []string{"6s healthy", "8s ill"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			start, asked := time.Now(), 0
			var got []string
			err := c.probe.Defaults().Run(ctx, func(context.Context) error {
				if asked == len(c.answers) {
					cancel()
					return nil
				}
				asked++
				if c.answers[asked-1] == 'y' {
					return nil
				}
				return errors.New("ill")
			}, func(reason string) {
				if reason == "" {
					reason = "healthy"
				}
				got = append(got, time.Since(start).String()+" "+reason)
			})
			cancel()
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, %v, want %v", c.why, got, err, c.want)
			}
		})
	}
}

// TestAsk holds what each kind of probe takes for a yes.
func TestAsk(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Ask") != "yes" || r.Host != "app.example.com" {
			http.Error(w, "who asks?", http.StatusTeapot)
		}
	}))
	defer server.Close()
	address := server.Listener.Addr().(*net.TCPAddr)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := int32(closed.Addr().(*net.TCPAddr).Port)
	_ = closed.Close()
	port := int32(address.Port)
	headers := []wire.AppHeader{{Name: "X-Ask", Value: "yes"}, {Name: "Host", Value: "app.example.com"}}
	for _, c := range []struct {
		why   string
		probe Probe
		wrong string // part of the reason; "": it succeeds
	}{
		{"HTTP", Probe{Network: &wire.AppProbe{HTTPGet: &wire.AppHTTPProbe{Port: port, Path: "/", Headers: headers}}}, ""},
		{"HTTP that says no", Probe{Network: &wire.AppProbe{HTTPGet: &wire.AppHTTPProbe{Port: port, Path: "/"}}}, "418"},
		{"nobody there", Probe{Network: &wire.AppProbe{HTTPGet: &wire.AppHTTPProbe{Port: gone, Path: "/"}}}, "refused"},
		{"TCP", Probe{Network: &wire.AppProbe{TCPSocket: &wire.AppTCPProbe{Port: port}}}, ""},
		{"TCP to nobody", Probe{Network: &wire.AppProbe{TCPSocket: &wire.AppTCPProbe{Port: gone}}}, "refused"},
		{"gRPC to who has none", Probe{Network: &wire.AppProbe{GRPC: &wire.AppGRPCProbe{Port: gone}}}, "refused"},
		{"a command", Probe{Command: []string{"true"}}, ""},
		{"a command that fails", Probe{Command: []string{"sh", "-c", "echo the disk is full; exit 3"}}, "exit status 3: the disk is full"},
		{"a command that there is not", Probe{Command: []string{"/nowhere"}}, "no such file"},
		{"a command that hangs", Probe{Command: []string{"sleep", "60"}, Timeout: 50 * time.Millisecond}, "not done within 50ms"},
		{"nothing", Probe{}, "nothing is to be asked"},
	} {
		if c.probe.Timeout == 0 {
			c.probe.Timeout = 30 * time.Second
		}
		err := c.probe.Defaults().Ask(t.Context(), "127.0.0.1")
		if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%s: %v, want %q", c.why, err, c.wrong)
		}
	}
}
