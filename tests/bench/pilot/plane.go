package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
)

// plane is a control plane that runs, a process of its own.
type plane struct {
	*process
	discovery, web string // host:port
	insecure       bool   // it is asked without TLS
	release        func()
}

// startHeddled starts one and waits until it is ready to serve proxies.
func (b *bench) startHeddled(ctx context.Context, at site) (*plane, error) {
	on, release, err := addresses(4)
	if err != nil {
		return nil, err
	}
	h := &plane{discovery: on[0], web: on[1], release: release}
	env := []string{wire.EnvPodName + "=heddled-0", wire.EnvPodNamespace + "=" + wire.SystemNamespace, wire.EnvMemoryLimit + "=1073741824"} // as in the chart
	h.process, err = spawn(at.dir, "heddled", env, b.binaries.heddled, "--kubeconfig="+at.kubeconfig, "--proxy-image=bench", "--discovery-address="+on[0],
		"--monitoring-address="+on[1], "--health-address="+on[2], "--webhook-address="+on[3])
	if err != nil {
		release()
		return nil, err
	}
	return h.ready(ctx, b.patience, "http://"+on[2]+"/ready")
}

// ready waits until the plane says that it serves.
func (h *plane) ready(ctx context.Context, patience time.Duration, url string) (*plane, error) {
	err := h.until(ctx, patience, func(ctx context.Context) error {
		_, err := fetch(ctx, url)
		return err
	})
	if err != nil {
		h.stop()
		return nil, err
	}
	return h, nil
}

func (h *plane) stop() {
	h.process.stop()
	h.release()
}

// profile writes a profile of the plane into a file, in the background; the function returned waits for it. Nothing is done without a file.
func (h *plane) profile(ctx context.Context, file, what string) (wait func() error) {
	if file == "" {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() {
		data, err := fetch(ctx, "http://"+h.web+"/debug/pprof/"+what)
		if err == nil {
			err = os.WriteFile(file, data, 0o644)
		}
		done <- err
	}()
	return func() error { return <-done }
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, strings.TrimSpace(answer.Status+" "+string(text)))
	}
	return text, err
}

// build makes the programs that the rows run, where none are given: heddled of this tree, and Kubernetes as the test cluster has it.
func (b *bench) build(ctx context.Context) error {
	if b.top != "" {
		return nil
	}
	module, err := output(ctx, "", "go", "env", "GOMOD")
	if err != nil {
		return err
	}
	if module == "" || module == os.DevNull {
		return errors.New("run this inside the source tree")
	}
	b.top = filepath.Dir(module)
	for _, given := range []*string{&b.binaries.heddled, &b.binaries.kubernetes, &b.binaries.istiod} {
		if *given == "" {
			continue
		}
		if *given, err = filepath.Abs(*given); err != nil { // programs run in a folder of their own
			return fmt.Errorf("looking for %s: %w", *given, err)
		}
	}
	if b.binaries.heddled == "" {
		fmt.Println("building heddled")
		b.binaries.heddled = filepath.Join(b.dir, "heddled")
		if _, err := output(ctx, b.top, "go", "build", "-o", b.binaries.heddled, "./cmd/heddled"); err != nil {
			return err
		}
	}
	if b.binaries.kubernetes == "" {
		fmt.Println("looking for Kubernetes; where the cache has none it is built, which takes 6 to 8 minutes")
		b.binaries.kubernetes, err = output(ctx, filepath.Join(b.top, "tests/cluster"), "go", "run", "./cmd/cluster", "kubernetes")
	}
	return err
}
