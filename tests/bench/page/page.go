// Package page is the page of figures, which two programs write a part of each: what a hop costs, and what the control plane does. Either leaves the
// other's part alone.
package page

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Part is what one program writes.
type Part int

// The parts, in their order on the page.
const (
	Hop Part = iota
	ControlPlane
)

// Heading begins the control plane's part; what is before it is about hops.
const Heading = "# What the control plane costs\n"

// Write replaces a part of the page. The control plane's begins with Heading.
func Write(path string, part Part, text []byte) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the page of figures: %w", err)
	}
	parts := split(string(old))
	parts[part] = string(text)
	var out []string
	for _, p := range parts {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p+"\n")
		}
	}
	if err := os.WriteFile(path, []byte(strings.Join(out, "\n")), 0o644); err != nil {
		return fmt.Errorf("writing the page of figures: %w", err)
	}
	return nil
}

// split takes a page apart.
func split(text string) [2]string {
	if strings.HasPrefix(text, Heading) {
		return [2]string{ControlPlane: text}
	}
	if i := strings.Index(text, "\n"+Heading); i >= 0 {
		return [2]string{text[:i], text[i+1:]}
	}
	return [2]string{Hop: text}
}

// Machine is the processor and how many cores there are.
func Machine() string { return fmt.Sprintf("%s, %d cores", processor(), runtime.NumCPU()) }

// Kernel is the release of the kernel.
func Kernel() string {
	var kernel unix.Utsname
	_ = unix.Uname(&kernel) // it cannot fail with a valid pointer
	return unix.ByteSliceToString(kernel.Release[:])
}

func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
