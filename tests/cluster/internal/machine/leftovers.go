package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
)

// Below are the mounts at or below a folder, the innermost first, which is the order in which they can be unmounted.
func Below(mounts []Mount, folder string) []string {
	var out []string
	for _, m := range mounts {
		if m.At == folder || strings.HasPrefix(m.At, folder+"/") {
			out = append(out, m.At)
		}
	}
	sort.Sort(sort.Reverse(sort.StringSlice(out)))
	return out
}

// RemoveFolder unmounts everything below a folder, and deletes it.
func RemoveFolder(folder string) error {
	mounts, err := Mounts()
	if err != nil {
		return err
	}
	for _, at := range Below(mounts, folder) {
		if err := syscall.Unmount(at, syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("unmounting %s: %w", at, err)
		}
	}
	if err := os.RemoveAll(folder); err != nil {
		return fmt.Errorf("removing %s: %w", folder, err)
	}
	return nil
}

// tunables are the kernel settings that a cluster changes for the whole machine: its kubelets the first, Raise the limits.
func tunables() []string {
	kubelet := []string{"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"}
	for name := range limits() {
		kubelet = append(kubelet, name)
	}
	return kubelet
}

// limits are settings that are too low for the programs of three machines on one: each watches files.
func limits() map[string]int {
	return map[string]int{"fs/inotify/max_user_instances": 1024, "fs/inotify/max_user_watches": 524288}
}

// Raise raises limits that are lower than what a cluster needs.
func Raise() error {
	for name, least := range limits() {
		path := filepath.Join("/proc/sys", name)
		have, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("raising %s: %w", name, err)
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(have))); err == nil && n >= least {
			continue
		}
		if err := os.WriteFile(path, []byte(strconv.Itoa(least)), 0); err != nil {
			return fmt.Errorf("raising %s: %w", name, err)
		}
	}
	return nil
}

// SaveTunables writes the present settings to a folder, unless it already holds some.
func SaveTunables(folder string) error {
	for _, t := range tunables() {
		value, err := os.ReadFile(filepath.Join("/proc/sys", t))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("saving %s: %w", t, err)
		}
		at := filepath.Join(folder, t)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		f, err := os.OpenFile(at, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		if _, err := f.Write(value); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// RestoreTunables puts saved settings back.
func RestoreTunables(folder string) {
	for _, t := range tunables() {
		if value, err := os.ReadFile(filepath.Join(folder, t)); err == nil {
			_ = os.WriteFile(filepath.Join("/proc/sys", t), value, 0)
		}
	}
}
