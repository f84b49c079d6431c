package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/tests/bench/plane"
)

// haproxyHead begins each configuration of HAProxy's.
const haproxyHead = `
global
    nbthread 1
    maxconn 4096
defaults
    mode %s
    timeout connect 5s
    timeout client 60s
    timeout server 60s
`

// haproxy starts one with what follows the head, which listens at addr.
func haproxy(ctx context.Context, addr, mode, rest string) (*process, error) {
	bin, err := installed("haproxy")
	if err != nil {
		return nil, err
	}
	dir, file, err := write("haproxy.cfg", fmt.Sprintf(haproxyHead, mode)+rest)
	if err != nil {
		return nil, err
	}
	return listening(ctx, addr)(in(dir)(spawn(ctx, proxyCore, bin, "-db", "-f", file)))
}

// haproxyOne is one that only forwards.
func haproxyOne(mode, bind, rest string) func(context.Context, string) (*fleet, error) {
	return func(ctx context.Context, to string) (*fleet, error) {
		addr, err := freeAddr(edgeIP)
		if err != nil {
			return nil, err
		}
		p, err := haproxy(ctx, addr, mode, fmt.Sprintf("%s\nlisten bench\n    bind %s %s\n    server backend %s %s\n", rest, addr, bind, to, bind))
		if err != nil {
			return nil, err
		}
		return plain(addr, p), nil
	}
}

// haproxyPair is two with mTLS between them.
func haproxyPair(ctx context.Context, to string) (*fleet, error) {
	ca, err := plane.New()
	if err != nil {
		return nil, err
	}
	f := &fleet{plane: ca}
	if err := f.haproxies(ctx, to); err != nil {
		f.stop()
		return nil, err
	}
	return f, nil
}

func (f *fleet) haproxies(ctx context.Context, to string) (err error) {
	server, err := freeAddr(serverIP)
	if err != nil {
		return err
	}
	if f.addr, err = freeAddr(clientIP); err != nil {
		return err
	}
	secured := func(account string) (string, error) {
		dir, err := f.plane.Certificate(ctx, account)
		if err != nil {
			return "", err
		}
		both, err := joined(dir)
		return fmt.Sprintf("ssl crt %s ca-file %s verify required ssl-min-ver TLSv1.3", both, f.plane.Roots()), err
	}
	serving, err := secured(serverPod)
	if err != nil {
		return err
	}
	asking, err := secured(clientPod)
	if err != nil {
		return err
	}
	for _, one := range []struct{ addr, bind, to, server string }{{server, serving, to, ""}, {f.addr, "", server, asking}} {
		p, err := haproxy(ctx, one.addr, "http", fmt.Sprintf("    http-reuse always\nlisten bench\n    bind %s %s\n    server next %s %s\n", one.addr, one.bind, one.to, one.server))
		if err != nil {
			return err
		}
		f.procs = append(f.procs, p)
	}
	return nil
}

// joined writes a certificate and its key as one file, as HAProxy wants them.
func joined(dir string) (string, error) {
	var both []byte
	for _, name := range []string{wire.FileChain, wire.FileKey} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		both = append(both, text...)
	}
	path := filepath.Join(dir, "both.pem")
	return path, os.WriteFile(path, both, 0o600)
}

const nginxText = `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr crit;
events { worker_connections 20000; }
http {
    access_log off;
    keepalive_requests 1000000000;
    upstream backend { server %s; keepalive 1024; keepalive_requests 1000000000; }
    server {
        listen %s%s;
        location / { %s }
    }
}
`

// nginx is one that only forwards; how says over what.
func nginx(options, how string) func(context.Context, string) (*fleet, error) {
	return func(ctx context.Context, to string) (*fleet, error) {
		bin, err := installed("nginx")
		if err != nil {
			return nil, err
		}
		addr, err := freeAddr(edgeIP)
		if err != nil {
			return nil, err
		}
		dir, file, err := write("nginx.conf", fmt.Sprintf(nginxText, to, addr, options, how))
		if err != nil {
			return nil, err
		}
		p, err := listening(ctx, addr)(in(dir)(spawn(ctx, proxyCore, bin, "-p", dir, "-c", file)))
		if err != nil {
			return nil, err
		}
		return plain(addr, p), nil
	}
}

// listening waits until a process listens.
func listening(ctx context.Context, addr string) func(*process, error) (*process, error) {
	return func(p *process, err error) (*process, error) {
		if err != nil {
			return nil, err
		}
		if err := p.await(ctx, addr); err != nil {
			p.stop()
			return nil, err
		}
		return p, nil
	}
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
