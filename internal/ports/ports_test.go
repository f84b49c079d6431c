package ports

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestEachIsGivenOnce(t *testing.T) {
	seen := map[string]bool{}
	for range 500 {
		port := Free(t)
		if seen[port] {
			t.Fatalf("%s was given twice", port)
		}
		seen[port] = true
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", Address(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, port, _ := net.SplitHostPort(l.Addr().String()); silent(port) {
		t.Error("a port that is listened on counts as free")
	}
}

func TestAReleasedPortIsNobodys(t *testing.T) {
	port, release, err := Claim()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(os.TempDir(), "heddle-test-ports", port)
	if again, err := claim(path); err != nil || again != nil {
		t.Errorf("port %s is given twice: %v", port, err)
	}
	release()
	again, err := claim(path)
	if err != nil || again == nil {
		t.Fatalf("port %s stays claimed: %v", port, err)
	}
	again()
}
