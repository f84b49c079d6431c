package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

func write(name, text string) (dir, file string, err error) {
	if dir, err = os.MkdirTemp("", "heddle-bench-"); err != nil {
		return "", "", err
	}
	file = filepath.Join(dir, name)
	return dir, file, os.WriteFile(file, []byte(text), 0o600)
}

// noServices is where Debian asks whether a package may start its service.
const noServices = "/usr/sbin/policy-rc.d"

// installed finds a program, installing Debian's package of that name where it is missing and we are root. The package's
// service is not started.
func installed(name string) (string, error) {
	if path, err := find(name); err == nil {
		return path, nil
	}
	if os.Geteuid() != 0 {
		return "", fmt.Errorf("not installed, and only root can install it: apt-get install %s", name)
	}
	if _, err := os.Stat(noServices); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(noServices, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil {
			return "", fmt.Errorf("keeping services from starting: %w", err)
		}
		defer os.Remove(noServices)
	}
	fmt.Printf("installing %s\n", name)
	for _, args := range [][]string{{"update", "-qq"}, {"install", "-y", "-qq", "--no-install-recommends", name}} {
		cmd := exec.Command("apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
		}
	}
	return find(name)
}

func find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	path := filepath.Join("/usr/sbin", name)
	_, err := os.Stat(path)
	return path, err
}
