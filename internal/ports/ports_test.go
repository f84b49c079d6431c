package ports

import (
	"net"
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
