package artifacts

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStampNamesTheVersion(t *testing.T) {
	for _, want := range []string{"gitVersion=v1.37.2 ", "gitMajor=1 ", "gitMinor=37 "} {
		if !strings.Contains(stamp(), want) {
			t.Errorf("no %s in %s", want, stamp())
		}
	}
}

func TestNothingIsBuiltTwiceNorHalf(t *testing.T) {
	b := Builder{Cache: t.TempDir()}
	builds := 0
	build := func(path string) error {
		builds++
		return os.WriteFile(path, []byte("x"), 0o600)
	}
	if _, err := b.keep("p", "d0", func(path string) error { _ = build(path); return errors.New("no") }); err == nil {
		t.Error("a failed build is kept")
	}
	old, err := b.keep("p", "d1", build)
	if err != nil {
		t.Fatal(err)
	}
	other, err := b.keep("p-other", "d1", build)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := b.keep("p", "d2", build); err != nil {
			t.Fatal(err)
		}
	}
	if builds != 4 {
		t.Errorf("%d builds", builds)
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("what is out of date stays: %v", err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("another's is gone: %v", err)
	}
}

func TestDigestsFollowContents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.go")
	digest := func(text string, facts ...string) string {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := digestOf([]string{path}, facts...)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	one := digest("a", "go1")
	if digest("a", "go1") != one {
		t.Error("it changes by itself")
	}
	if digest("b", "go1") == one || digest("a", "go2") == one {
		t.Error("a change goes unnoticed")
	}
}
