package machine

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// Mount is a line of /proc/self/mountinfo.
type Mount struct{ At, Kind string }

// Mounts are the mounts that this process sees.
func Mounts() ([]Mount, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("listing mounts: %w", err)
	}
	return parseMounts(string(data)), nil
}

func parseMounts(text string) []Mount {
	var out []Mount
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if ok && len(fields) > 4 && len(kind) > 0 {
			out = append(out, Mount{At: unescape.Replace(fields[4]), Kind: kind[0]})
		}
	}
	return out
}

// hierarchies are the folders of the cgroup hierarchies in use: each controller's in version 1, the only one in version 2.
func hierarchies() (folders []string, unified bool, err error) {
	mounts, err := Mounts()
	if err != nil {
		return nil, false, err
	}
	for _, m := range mounts {
		if m.Kind == "cgroup2" && m.At == "/sys/fs/cgroup" {
			return []string{m.At}, true, nil
		}
		if m.Kind == "cgroup" {
			folders = append(folders, m.At)
		}
	}
	if len(folders) == 0 {
		return nil, false, errors.New("this machine has no cgroups mounted below /sys/fs/cgroup")
	}
	return folders, false, nil
}

// MakeCgroups makes cgroups such as /heddle/worker in every hierarchy. A kubelet wants its own to be there before it starts.
func MakeCgroups(paths []string) error {
	folders, unified, err := hierarchies()
	if err != nil {
		return err
	}
	for _, folder := range folders {
		for _, path := range paths {
			if err := makeCgroup(folder, path, unified); err != nil {
				return fmt.Errorf("making cgroup %s: %w", path, err)
			}
		}
	}
	return nil
}

func makeCgroup(folder, path string, unified bool) error {
	at := folder
	for _, elem := range strings.Split(strings.Trim(path, "/"), "/") {
		parent := at
		at = filepath.Join(at, elem)
		if unified {
			delegate(parent)
		}
		if err := os.Mkdir(at, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := inherit(parent, at); err != nil {
			return err
		}
	}
	if unified {
		delegate(at)
	}
	return nil
}

// inherit copies what a new cpuset of version 1 lacks: without it no process may enter.
func inherit(parent, child string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, file))
		if errors.Is(err, fs.ErrNotExist) || len(strings.TrimSpace(string(value))) == 0 {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(child, file), value, 0); err != nil {
			return err
		}
	}
	return nil
}

// delegate switches on, for the cgroups below one of version 2, each controller that it has itself.
func delegate(at string) {
	have, err := os.ReadFile(filepath.Join(at, "cgroup.controllers"))
	if err != nil {
		return
	}
	for _, c := range strings.Fields(string(have)) {
		_ = os.WriteFile(filepath.Join(at, "cgroup.subtree_control"), []byte("+"+c), 0)
	}
}

// RemoveCgroups removes a cgroup and all below it from every hierarchy. Processes in them must have been ended; the last may still be going.
func RemoveCgroups(path string) error {
	folders, _, err := hierarchies()
	if err != nil {
		return err
	}
	if _, err := os.Stat("/sys/fs/cgroup/unified/cgroup.procs"); err == nil {
		folders = append(folders, "/sys/fs/cgroup/unified")
	}
	for _, folder := range folders {
		for try := 0; ; try++ {
			err := removeTree(filepath.Join(folder, path))
			if err == nil {
				break
			}
			if try == 100 {
				return fmt.Errorf("removing cgroup %s: %w", path, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}

func removeTree(root string) error {
	var folders []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			folders = append(folders, path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	sort.Slice(folders, func(i, j int) bool { return len(folders[i]) > len(folders[j]) })
	for _, f := range folders {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
