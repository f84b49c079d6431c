// Package proc remembers processes and ends them. It never trusts a process id alone, because ids are reused: a process is ours only if
// it was started in this boot at the very tick that was written down. It never looks for processes by name.
package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ID names one process for good.
type ID struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // in ticks since the boot
	Boot  string `json:"boot"`
}

// Of identifies a running process.
func Of(pid int) (ID, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ID{}, fmt.Errorf("identifying process %d: %w", pid, err)
	}
	state, _, start, err := parseStat(string(stat))
	if err != nil {
		return ID{}, fmt.Errorf("identifying process %d: %w", pid, err)
	}
	if state == "Z" || state == "X" {
		return ID{}, fmt.Errorf("identifying process %d: it has ended", pid)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ID{}, fmt.Errorf("reading the boot id: %w", err)
	}
	return ID{PID: pid, Start: start, Boot: strings.TrimSpace(string(boot))}, nil
}

// parseStat finds state, parent and start time behind the command's name, which may itself hold spaces and brackets.
func parseStat(stat string) (state string, parent int, start uint64, err error) {
	end := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[end+1:])
	if end < 0 || len(fields) < 20 {
		return "", 0, 0, fmt.Errorf("malformed stat %q", stat)
	}
	if parent, err = strconv.Atoi(fields[1]); err != nil {
		return "", 0, 0, fmt.Errorf("malformed stat %q", stat)
	}
	start, err = strconv.ParseUint(fields[19], 10, 64)
	return fields[0], parent, start, err
}

// ChildOf says whether this very process runs and was started by the other one, which runs too.
func (id ID) ChildOf(other ID) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id.PID))
	if err != nil {
		return false
	}
	_, parent, _, err := parseStat(string(stat))
	return err == nil && parent == other.PID && id.Alive() && other.Alive()
}

// Alive says whether this very process still runs.
func (id ID) Alive() bool {
	now, err := Of(id.PID)
	return err == nil && now == id
}

// End asks the process to stop, and kills it where it has not within the given time. It returns once it is gone.
func (id ID) End(patience time.Duration) error {
	for _, try := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, patience}, {syscall.SIGKILL, 20 * time.Second}} {
		if !id.Alive() {
			return nil
		}
		if err := syscall.Kill(id.PID, try.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("ending process %d: %w", id.PID, err)
		}
		for until := time.Now().Add(try.wait); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
			if !id.Alive() {
				return nil
			}
		}
	}
	return fmt.Errorf("ending process %d: it survived SIGKILL", id.PID)
}

// Running are the processes with exactly this command line.
func Running(line []string) ([]ID, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	want := strings.Join(line, "\x00") + "\x00"
	var out []ID
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		have, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || string(have) != want {
			continue
		}
		if id, err := Of(pid); err == nil {
			out = append(out, id)
		}
	}
	return out, nil
}

// Save writes the identity to a file.
func (id ID) Save(path string) error {
	data, err := json.Marshal(id)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("remembering process %d: %w", id.PID, err)
	}
	return nil
}

// Load reads an identity. A missing or unreadable one names no process, and is not alive.
func Load(path string) (ID, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ID{}, nil
	}
	if err != nil {
		return ID{}, fmt.Errorf("reading %s: %w", path, err)
	}
	var id ID
	if err := json.Unmarshal(data, &id); err != nil {
		return ID{}, nil // cut short while it was written: the process was not started yet
	}
	return id, nil
}

// Tail returns the last lines of a file, or why it cannot be read.
func Tail(path string, lines int) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	const most = 64 << 10
	if info, err := f.Stat(); err == nil && info.Size() > most {
		_, _ = f.Seek(-most, 2)
	}
	buf := make([]byte, most)
	n, _ := f.Read(buf)
	all := strings.Split(strings.TrimRight(string(buf[:n]), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
