package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// contender is a proxy that can be measured.
type contender interface {
	name() string
	// start runs it on the proxy's core, forwarding to a backend.
	start(ctx context.Context, to string) (*process, error)
}

type heddle struct{ profile string }

func (heddle) name() string { return "Heddle" }
func (h heddle) start(ctx context.Context, to string) (*process, error) {
	return start(ctx, "proxy", proxyCore, "-to", to, "-profile", h.profile)
}

type haproxy struct{}

func (haproxy) name() string { return "HAProxy" }
func (haproxy) start(ctx context.Context, to string) (*process, error) {
	bin, err := installed("haproxy")
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	dir, file, err := write("haproxy.cfg", fmt.Sprintf(`
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
listen bench
    bind %s
    server backend %s
`, addr, to))
	if err != nil {
		return nil, err
	}
	return in(dir)(spawn(ctx, addr, proxyCore, bin, "-db", "-q", "-f", file))
}

type nginx struct{}

func (nginx) name() string { return "nginx" }
func (nginx) start(ctx context.Context, to string) (*process, error) {
	bin, err := installed("nginx")
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	dir, file, err := write("nginx.conf", fmt.Sprintf(`
daemon off;
master_process off;
pid nginx.pid;
error_log stderr crit;
events { worker_connections 4096; }
http {
    access_log off;
    keepalive_requests 1000000000;
    upstream backend { server %s; keepalive 256; keepalive_requests 1000000000; }
    server {
        listen %s;
        location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; }
    }
}
`, to, addr))
	if err != nil {
		return nil, err
	}
	return in(dir)(spawn(ctx, addr, proxyCore, bin, "-p", dir, "-c", file))
}

// in notes the process's directory, which goes when it stops.
func in(dir string) func(*process, error) (*process, error) {
	return func(p *process, err error) (*process, error) {
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		p.dir = dir
		return p, nil
	}
}

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
