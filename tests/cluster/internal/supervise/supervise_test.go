package supervise

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestSpecsSurviveTheirFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spec.json")
	want := Spec{
		Name: "worker", Logs: "/logs", Devices: true, Sysctls: map[string]string{"net/ipv4/ip_forward": "1"},
		Folders: []Folder{{At: "/run"}, {At: "/var/log", From: "/state/log"}}, Programs: []Program{{Name: "p", Args: []string{"/bin/p", "-x"}}},
	}
	if err := want.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestOnlyAFirstProcessSupervises(t *testing.T) {
	if err := Run(Spec{Name: "x"}); err == nil || !strings.Contains(err.Error(), "first process") {
		t.Errorf("got %v", err)
	}
}

func TestLogsStayBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := newLog(path)
	if err != nil {
		t.Fatal(err)
	}
	chunk := []byte(strings.Repeat("x", 1<<20))
	for range 30 {
		if _, err := l.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{path, path + ".old"} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > logLimit || info.Size() == 0 {
			t.Errorf("%s has %d bytes", p, info.Size())
		}
	}
}
