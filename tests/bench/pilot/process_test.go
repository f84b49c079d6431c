package main

import (
	"os"
	"testing"
	"time"
)

func TestCPUOf(t *testing.T) {
	const stat = "4242 (a b) c) S 1 4242 4242 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 8 0 12345 1000 200"
	if d, err := cpuOf(stat); err != nil || d != 3*time.Second {
		t.Errorf("%v, %v", d, err)
	}
	if _, err := cpuOf("1 (x) S"); err == nil {
		t.Error("a broken line is read")
	}
}

func TestPeakOf(t *testing.T) {
	if n, err := peakOf("Name:\tx\nVmPeak:\t 9000 kB\nVmHWM:\t    1024 kB\nVmRSS:\t 5 kB\n"); err != nil || n != 1<<20 {
		t.Errorf("%d, %v", n, err)
	}
	for _, wrong := range []string{"", "VmHWM: many kB\n"} {
		if _, err := peakOf(wrong); err == nil {
			t.Errorf("%q is read", wrong)
		}
	}
	own, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := peakOf(string(own)); err != nil || n < 1<<20 {
		t.Errorf("this process's own: %d, %v", n, err)
	}
}
