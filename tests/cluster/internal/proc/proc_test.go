package proc

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const tail = " S 7 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21"
	for name, c := range map[string]struct {
		stat  string
		state string
		start uint64
		bad   bool
	}{
		"an ordinary name":               {"42 (kubelet)" + tail, "S", 4711, false},
		"a name with spaces and bracket": {"42 (a) b (c)" + tail, "S", 4711, false},
		"cut short":                      {"42 (kubelet) S 1 2", "", 0, true},
		"empty":                          {"", "", 0, true},
	} {
		state, parent, start, err := parseStat(c.stat)
		if state != c.state || start != c.start || (parent == 7) == c.bad || (err != nil) != c.bad {
			t.Errorf("%s: %q %d %d %v", name, state, parent, start, err)
		}
	}
}

func TestChildren(t *testing.T) {
	self, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	parent, err := Of(os.Getppid())
	if err != nil {
		t.Fatal(err)
	}
	if !self.ChildOf(parent) || parent.ChildOf(self) || self.ChildOf(ID{PID: parent.PID, Start: parent.Start + 1, Boot: parent.Boot}) {
		t.Error("who is whose child is not seen")
	}
}

func TestAReusedNumberIsAnotherProcess(t *testing.T) {
	self, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !self.Alive() {
		t.Error("this process is not alive")
	}
	for name, id := range map[string]ID{
		"started at another time": {self.PID, self.Start + 1, self.Boot},
		"of another boot":         {self.PID, self.Start, "another"},
		"nobody":                  {},
	} {
		if id.Alive() {
			t.Errorf("%s: taken for this process", name)
		}
		if err := id.End(time.Second); err != nil { // were it wrong, it would end this test
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEndKillsWhatDoesNotStop(t *testing.T) {
	cmd := exec.Command("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	go func() { _ = cmd.Wait() }()
	id, err := Of(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := id.End(50 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if id.Alive() {
		t.Error("it is still alive")
	}
}

func TestSaveAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	if id, err := Load(path); err != nil || id != (ID{}) {
		t.Errorf("a missing file: %v, %v", id, err)
	}
	want := ID{PID: 7, Start: 8, Boot: "b"}
	if err := want.Save(path); err != nil {
		t.Fatal(err)
	}
	if id, err := Load(path); err != nil || id != want {
		t.Errorf("got %v, %v", id, err)
	}
	if err := os.WriteFile(path, []byte(`{"pid":7,`), 0o600); err != nil {
		t.Fatal(err)
	}
	if id, err := Load(path); err != nil || id != (ID{}) {
		t.Errorf("a file cut short: %v, %v", id, err)
	}
}

func TestRunningWantsTheWholeLine(t *testing.T) {
	cmd := exec.Command("sleep", "61.25")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	found, err := Running([]string{"sleep", "61.25"})
	if err != nil || len(found) != 1 || found[0].PID != cmd.Process.Pid {
		t.Errorf("found %v, %v", found, err)
	}
	if found, _ := Running([]string{"sleep"}); len(found) != 0 {
		t.Errorf("the name alone finds %v", found)
	}
}

func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("one\ntwo\nthree\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Tail(path, 2); got != "two\nthree" {
		t.Errorf("got %q", got)
	}
}
