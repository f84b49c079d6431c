package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/proc"
)

// Network runs iproute2 commands in order; the first that fails ends it.
func Network(commands []string) error {
	for _, c := range commands {
		if out, err := exec.Command("ip", strings.Fields(c)...).CombinedOutput(); err != nil {
			return fmt.Errorf("building the network: ip %s: %s: %w", c, strings.TrimSpace(string(out)), err)
		}
	}
	return nil
}

// Conflict says which of the machine's own routes overlaps with a range that the cluster wants, ignoring routes over the given interface.
func Conflict(wanted []netip.Prefix, except string) error {
	out, err := exec.Command("ip", "-j", "-4", "route", "show", "table", "main").Output()
	if err != nil {
		return fmt.Errorf("listing routes: %w", err)
	}
	var routes []struct{ Dst, Dev string }
	if len(bytes.TrimSpace(out)) > 0 {
		if err := json.Unmarshal(out, &routes); err != nil {
			return fmt.Errorf("reading routes: %w", err)
		}
	}
	for _, r := range routes {
		have, ok := parseRoute(r.Dst)
		if !ok || r.Dev == except {
			continue
		}
		for _, w := range wanted {
			if have.Overlaps(w) {
				return fmt.Errorf("this machine already has a route to %s over %s, which the cluster needs for %s", have, r.Dev, w)
			}
		}
	}
	return nil
}

// parseRoute reads a destination; the default route, which overlaps with everything, is not one.
func parseRoute(text string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p, p.Bits() > 0
	}
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	return netip.Prefix{}, false
}

// RemoveNamespaces ends what still runs in the network namespaces, and deletes them and their wires.
func RemoveNamespaces(names []string, link string) error {
	for _, name := range names {
		path := "/run/netns/" + name
		if _, err := os.Lstat(path); err != nil {
			continue
		}
		if err := endInside(name); err != nil {
			return err
		}
		if out, err := exec.Command("ip", "netns", "del", name).CombinedOutput(); err != nil {
			return fmt.Errorf("deleting namespace %s: %s: %w", name, strings.TrimSpace(string(out)), err)
		}
	}
	if _, err := net.InterfaceByName(link); err != nil {
		return nil
	}
	_ = exec.Command("ip", "link", "del", link).Run() // it goes with the namespace at its other end, sooner or later
	for range 100 {
		if _, err := net.InterfaceByName(link); err != nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("interface %s does not go away", link)
}

// endInside ends the processes that live in a network namespace of ours: nobody else has reason to be there.
func endInside(name string) error {
	out, err := exec.Command("ip", "netns", "pids", name).Output()
	if err != nil {
		return nil // a name without a namespace behind it: left over from a boot before
	}
	for _, field := range strings.Fields(string(out)) {
		pid, err := strconv.Atoi(field)
		if err != nil || pid == os.Getpid() {
			continue
		}
		id, err := proc.Of(pid)
		if err != nil {
			continue
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
		if err := id.End(0); err != nil {
			return fmt.Errorf("emptying namespace %s: %w", name, err)
		}
	}
	return nil
}

// Reachable waits until something accepts TCP connections.
func Reachable(ctx context.Context, address string) error {
	var dialer net.Dialer
	for {
		c, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("reaching %s: %w", address, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
