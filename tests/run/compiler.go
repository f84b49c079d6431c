package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/heddle-mesh/heddle/tests/internal/process"
)

// compilerPackages are the Debian packages with what cgo, and with it the race detector, needs.
var compilerPackages = []string{"gcc", "libc6-dev"}

// compiler sees to a C compiler with the headers of the C library: it installs them where it may.
func compiler(ctx context.Context) error {
	err := compiles(ctx)
	if err == nil {
		return nil
	}
	words := strings.Join(compilerPackages, " ")
	if _, lookup := exec.LookPath("apt-get"); lookup != nil || os.Geteuid() != 0 {
		return fmt.Errorf("the tests run under Go's race detector, which needs a C compiler: install the Debian packages %s, or what your system calls them (%w)", words, err)
	}
	fmt.Printf("== installing Debian packages %s\n", words)
	if err := install(ctx); err != nil {
		return fmt.Errorf("installing %s, for Go's race detector: %w", words, err)
	}
	if err := compiles(ctx); err != nil {
		return fmt.Errorf("the packages %s are installed, but Go's race detector finds no C compiler: is it on the PATH? (%w)", words, err)
	}
	return nil
}

// compiles says why the compiler that Go would use does not know the C library.
func compiles(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "go", "env", "CC").Output()
	if err != nil {
		return fmt.Errorf("asking go for its C compiler: %w", err)
	}
	words := strings.Fields(string(out))
	if len(words) == 0 {
		return errors.New("go knows no C compiler")
	}
	cmd := exec.CommandContext(ctx, words[0], append(words[1:], "-E", "-x", "c", "-o", os.DevNull, "-")...)
	cmd.Stdin = strings.NewReader("#include <pthread.h>\n#include <stdlib.h>\n")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w", strings.TrimSpace(words[0]+" "+string(text)), err)
	}
	return nil
}

// install installs the compiler, with fresh package lists only where the present ones do not do.
func install(ctx context.Context) error {
	packages := append([]string{"install", "-y", "--no-install-recommends"}, compilerPackages...)
	if _, err := apt(ctx, packages...); err == nil {
		return nil
	}
	if text, err := apt(ctx, "update"); err != nil {
		return fmt.Errorf("apt-get update: %w\n%s", err, text)
	}
	if text, err := apt(ctx, packages...); err != nil {
		return fmt.Errorf("apt-get install: %w\n%s", err, text)
	}
	return nil
}

func apt(ctx context.Context, args ...string) (said []byte, err error) {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=120"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = process.Run(ctx, cmd)
	return out.Bytes(), err
}
