package progress

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestALongStepIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		err := New(&out).Step("waiting", func() error { time.Sleep(20 * time.Second); return nil })
		want := "     2s  waiting ...\n    17s  waiting ...\n  20.0s  waiting\n"
		if err != nil || out.String() != want {
			t.Errorf("%v, got\n%s", err, out.String())
		}
	})
}

func TestAFailedStepShowsItsLog(t *testing.T) {
	log := filepath.Join(t.TempDir(), "kubelet.log")
	if err := os.WriteFile(log, []byte(strings.Repeat("noise\n", 100)+"the reason\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cause := errors.New("node worker is not ready")
	err := New(&out).Step("nodes", func() error { return &LogError{Log: log, Err: cause} })
	if !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{"nodes: FAILED: node worker is not ready", "the last lines of " + log, "| the reason"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if n := strings.Count(out.String(), "noise"); n != lines-1 {
		t.Errorf("%d lines of noise", n)
	}
}
