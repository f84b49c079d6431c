package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	gigabyte = 1 << 30

	// coldCache is what a run writes into an empty build cache, in bytes: everything is compiled with and without -race, Kubernetes too.
	coldCache = 20 * gigabyte
	// warmCache is what a run writes into a cache that has the last commit's packages.
	warmCache = 3 * gigabyte
	// scratch is what the linkers of some tests keep in the temporary directory at one time.
	scratch = 2 * gigabyte
	// programs is what ends up in the tree's bin/, beside the cluster's own programs, images and logs, in bytes.
	programs = 3 * gigabyte
)

// place is a directory that a run writes to. Places with the same device share its room.
type place struct {
	dir, what string
	device    uint64
	free      uint64 // bytes
	needs     uint64 // bytes
	remedy    string
}

// tooLittle says which disk has too little room for what the run writes there, or nothing.
func tooLittle(places []place) error {
	needs := make(map[uint64]uint64)
	for _, p := range places {
		needs[p.device] += p.needs
	}
	for _, p := range places {
		if p.free >= needs[p.device] {
			continue
		}
		var dirs, remedies []string
		for _, q := range places {
			if q.device == p.device {
				dirs = append(dirs, fmt.Sprintf("%s (%s, %s)", q.dir, q.what, size(q.needs)))
				remedies = append(remedies, q.remedy)
			}
		}
		return fmt.Errorf("too little room: the disk of %s has %s free, and this run writes about %s there: %s; delete something, or %s",
			p.dir, size(p.free), size(needs[p.device]), strings.Join(dirs, ", "), strings.Join(remedies, ", or "))
	}
	return nil
}

// size writes bytes for people.
func size(bytes uint64) string {
	return fmt.Sprintf("%.1f GB", float64(bytes)/gigabyte)
}

// cacheNeeds is what a run still writes into a build cache that holds so many bytes.
func cacheNeeds(holds uint64) uint64 {
	return max(warmCache, coldCache-min(holds, coldCache))
}

// places looks at the directories that a run writes to. What cannot be looked at is not judged.
func places() []place {
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		return nil
	}
	cache := strings.TrimSpace(string(out))
	temporary := os.Getenv("GOTMPDIR")
	if temporary == "" {
		temporary = os.TempDir()
	}
	all := []place{
		{dir: cache, what: "Go's build cache", needs: cacheNeeds(held(cache)), remedy: "have GOCACHE name a directory on a larger disk"},
		{dir: temporary, what: "temporary files of Go's linker", needs: scratch, remedy: "have TMPDIR name one"},
		{dir: ".", what: "programs and images of the tests", needs: programs, remedy: "check the tree out on one"},
	}
	var known []place
	for _, p := range all {
		if p.look() {
			known = append(known, p)
		}
	}
	return known
}

// look finds the place's device, and how much of it is free. A directory that is not there yet will be in the nearest parent that is.
func (p *place) look() bool {
	dir, err := filepath.Abs(p.dir)
	if err != nil {
		return false
	}
	p.dir = dir
	for {
		var info syscall.Stat_t
		var disk syscall.Statfs_t
		if syscall.Stat(dir, &info) == nil && syscall.Statfs(dir, &disk) == nil {
			p.device, p.free = info.Dev, disk.Bavail*uint64(disk.Bsize)
			return true
		}
		if dir == filepath.Dir(dir) {
			return false
		}
		dir = filepath.Dir(dir)
	}
}

// sampled are some of a build cache's 256 folders. Entries fall into them by their hash, so that these few tell of all.
var sampled = []string{"00", "2b", "5a", "91", "c3", "f8"}

// held estimates how many bytes a build cache holds.
func held(cache string) uint64 {
	var bytes uint64
	for _, folder := range sampled {
		_ = filepath.WalkDir(filepath.Join(cache, folder), func(_ string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return nil // an entry that has just been trimmed, or no such folder: nothing is held there
			}
			if info, err := entry.Info(); err == nil {
				bytes += uint64(info.Size())
			}
			return nil
		})
	}
	return bytes * 256 / uint64(len(sampled))
}
