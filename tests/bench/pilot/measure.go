package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/api/wire"
)

// trial is all that runs for one row.
type trial struct {
	*cluster
	plane *plane
	fleet *fleet
}

// measure takes a row's figures.
func (b *bench) measure(ctx context.Context, t trial) (figures, error) {
	var out figures
	err := t.profiled(ctx, b, "connect", func() (err error) {
		if out.connect, err = t.fleet.connect(ctx, b.patience); err != nil {
			return err
		}
		out.cold = t.fleet.received.Load()
		out.cpu, err = t.plane.cpu()
		return errors.Join(err, t.fleet.calm(ctx))
	})
	if err != nil {
		return out, err
	}
	connected, err := t.plane.peak()
	if err != nil {
		return out, err
	}
	fmt.Printf("%s %s: %d connected after %.1f s, %d attempts led to no stream; %s has used %.1f s of CPU and %s\n", t.size, t.name, t.proxies, out.connect.Seconds(),
		t.fleet.refused.Load(), t.plane.process.name, out.cpu.Seconds(), showBytes(float64(connected)))
	err = t.profiled(ctx, b, "change", func() (err error) {
		if out.endpoints, _, err = t.changed(ctx, b.patience, "endpoint change", t.changeEndpoints); err != nil {
			return fmt.Errorf("changing endpoints: %w", err)
		}
		if out.service, out.serviceBytes, err = t.changed(ctx, b.patience, "new Service", t.addService); err != nil {
			return fmt.Errorf("adding a service: %w", err)
		}
		if out.virtual, out.virtualBytes, err = t.changed(ctx, b.patience, "new VirtualService", t.addVirtualService); err != nil {
			return fmt.Errorf("adding a VirtualService: %w", err)
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	out.memory, err = t.plane.peak()
	return out, err
}

// profiled writes profiles of what the control plane does meanwhile, where they are asked for.
func (t trial) profiled(ctx context.Context, b *bench, what string, do func() error) error {
	file := func(kind string) string {
		if b.profiles == "" {
			return ""
		}
		return filepath.Join(b.profiles, fmt.Sprintf("%s-%s-%s-%s-%s.pprof", t.plane.process.name, t.size, t.name, what, kind))
	}
	cpu := t.plane.profile(ctx, file("cpu"), fmt.Sprintf("profile?seconds=%d", int(b.profiling.Seconds())))
	if err := do(); err != nil {
		return err
	}
	return errors.Join(t.plane.profile(ctx, file("heap"), "heap")(), cpu())
}

// change is one change of a kind: what clients are to receive, and the write. round counts from 0.
type change func(round int) (needs []need, write func(context.Context) error)

// changed makes a change a few times and returns the medians: of the time until the last client had it, and of the bytes that all received. It prints whose CPU
// that took, since clients and control plane have the same cores.
func (t trial) changed(ctx context.Context, patience time.Duration, what string, c change) (time.Duration, int64, error) {
	theirs, ours, err := t.spent()
	if err != nil {
		return 0, 0, err
	}
	var took []time.Duration
	var bytes []int64
	for round := range changes {
		needs, write := c(round)
		before, g := t.fleet.received.Load(), t.fleet.expect(needs...)
		began := time.Now()
		if err := write(ctx); err != nil {
			return 0, 0, err
		}
		select {
		case <-g.done:
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case <-time.After(patience):
			return 0, 0, fmt.Errorf("after %v %d clients do not have it", patience, g.left.Load())
		}
		if err := t.fleet.calm(ctx); err != nil {
			return 0, 0, err
		}
		took, bytes = append(took, g.at.Sub(began)), append(bytes, t.fleet.received.Load()-before)
	}
	theirsAfter, oursAfter, err := t.spent()
	if err != nil {
		return 0, 0, err
	}
	fmt.Printf("%s %s: %s: each took %v of %s's CPU and %v of its clients'\n", t.size, t.name, what, ((theirsAfter - theirs) / changes).Round(time.Millisecond),
		t.plane.process.name, ((oursAfter - ours) / changes).Round(time.Millisecond))
	slices.Sort(took)
	slices.Sort(bytes)
	return took[changes/2], bytes[changes/2], nil
}

// spent is the CPU time that the control plane and its clients, which are this process, have had so far.
func (t trial) spent() (plane, clients time.Duration, err error) {
	if plane, err = t.plane.cpu(); err != nil {
		return 0, 0, err
	}
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		return 0, 0, fmt.Errorf("reading the clients' CPU time: %w", err)
	}
	return plane, time.Duration(own.Utime.Nano() + own.Stime.Nano()), nil
}

// changeEndpoints gives a service one more address.
func (t trial) changeEndpoints(round int) ([]need, func(context.Context) error) {
	i, address := t.popular(0), changedIP(t.before+round)
	return []need{{wire.TypeEndpoints, t.mesh.cluster(i), []byte(address)}}, func(ctx context.Context) error {
		s := t.slice(i, address)
		_, err := t.kube.DiscoveryV1().EndpointSlices(s.Namespace).Update(ctx, s, metav1.UpdateOptions{})
		return err
	}
}

// addService adds a service with endpoints: clients are to have its cluster, its endpoints and its route.
func (t trial) addService(round int) ([]need, func(context.Context) error) {
	i := t.later(round)
	name := t.mesh.cluster(i)
	return []need{{wire.TypeCluster, name, nil}, {wire.TypeEndpoints, name, []byte(strangerIP(i, 0))}, t.route(i, t.host(i))},
		func(ctx context.Context) error { return t.makeService(ctx, i) }
}

// addVirtualService adds a rule for a service.
func (t trial) addVirtualService(round int) ([]need, func(context.Context) error) {
	i, mark := t.popular(round), fmt.Sprintf("bench-mark-%d", t.before+round)
	return []need{t.route(i, mark)}, func(ctx context.Context) error {
		return t.create(ctx, "virtualservices", t.virtualService(i, mark))
	}
}

// route is where clients learn of a service's routes.
func (t trial) route(i int, mark string) need {
	if t.onDemand {
		return need{wire.TypeVirtualHost, t.virtualHost(i), []byte(mark)}
	}
	return need{wire.TypeRoute, fmt.Sprint(servicePort), []byte(mark)}
}
