package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTooLittleRoomNamesTheDirectoryAndWhatToDo(t *testing.T) {
	cache := place{dir: "/cache", what: "Go's build cache", device: 1, free: 10 * gigabyte, needs: 8 * gigabyte, remedy: "set GOCACHE"}
	scratch := place{dir: "/scratch", what: "temporary files", device: 1, free: 10 * gigabyte, needs: 3 * gigabyte, remedy: "set TMPDIR"}
	tree := place{dir: "/tree", what: "programs", device: 2, free: 3 * gigabyte, needs: 3 * gigabyte, remedy: "check it out elsewhere"}

	for name, enough := range map[string][]place{"nothing known": nil, "alone": {cache}, "to the byte": {tree}, "two disks": {cache, tree}} {
		if err := tooLittle(enough); err != nil {
			t.Errorf("%s: %v, want room enough", name, err)
		}
	}
	err := tooLittle([]place{tree, cache, scratch})
	if err == nil {
		t.Fatal("two directories of one disk want 11 GB of 10, and nobody says so")
	}
	want := "too little room: the disk of /cache has 10.0 GB free, and this run writes about 11.0 GB there: " +
		"/cache (Go's build cache, 8.0 GB), /scratch (temporary files, 3.0 GB); delete something, or set GOCACHE, or set TMPDIR"
	if err.Error() != want {
		t.Errorf("it says:\n%v\nwant:\n%s", err, want)
	}
	if strings.Contains(err.Error(), "/tree") {
		t.Errorf("%v names a directory of another disk", err)
	}
}

func TestWarmCachesNeedLess(t *testing.T) {
	for holds, want := range map[uint64]uint64{0: coldCache, 5 * gigabyte: coldCache - 5*gigabyte, coldCache: warmCache, 3 * coldCache: warmCache} {
		if got := cacheNeeds(holds); got != want {
			t.Errorf("a cache of %s needs %s more, want %s", size(holds), size(got), size(want))
		}
	}
}

func TestWhatACacheHolds(t *testing.T) {
	cache := t.TempDir()
	if got := held(cache); got != 0 {
		t.Errorf("an empty cache holds %d bytes", got)
	}
	for _, folder := range sampled {
		if err := os.MkdirAll(filepath.Join(cache, folder), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(cache, folder, "entry-d"), make([]byte, 1000), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := held(cache); got != 256*1000 {
		t.Errorf("a cache with 1,000 bytes in each folder holds %d, want 256,000", got)
	}
	missing := place{dir: filepath.Join(cache, "not", "there", "yet")}
	if !missing.look() || missing.free == 0 {
		t.Errorf("a directory to be made has no room: %+v", missing)
	}
}
