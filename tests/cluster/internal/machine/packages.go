// Package machine is what the cluster changes on the machine that it runs on: packages, network namespaces, cgroups, kernel settings, and
// the clean-up of all of these after a cluster that ended badly. It knows nothing of Kubernetes.
package machine

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// programs are what the cluster calls, each with the Debian package that brings it.
func programs() [][2]string {
	return [][2]string{
		{"/usr/bin/containerd", "containerd"},
		{"/usr/bin/ctr", "containerd"},
		{"/usr/sbin/runc", "runc"},
		{"/usr/lib/cni/ptp", "containernetworking-plugins"},
		{"/usr/sbin/nft", "nftables"},
		{"/usr/sbin/ip", "iproute2"},
		{"/usr/bin/nsenter", "util-linux"},
		{"/etc/ssl/certs/ca-certificates.crt", "ca-certificates"},
	}
}

// MissingPackages are the Debian packages that have to be installed.
func MissingPackages() []string {
	var missing []string
	seen := map[string]bool{}
	for _, p := range programs() {
		if _, err := os.Stat(p[0]); err != nil && !seen[p[1]] {
			seen[p[1]] = true
			missing = append(missing, p[1])
		}
	}
	return missing
}

// Install installs Debian packages, with fresh package lists only where the present ones do not do.
func Install(ctx context.Context, packages []string, log io.Writer) error {
	if len(packages) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("the packages %s are missing, and this is no Debian that could install them", strings.Join(packages, ", "))
	}
	install := append([]string{"install", "-y", "--no-install-recommends"}, packages...)
	if apt(ctx, log, install...) == nil {
		return nil
	}
	if err := apt(ctx, log, "update"); err != nil {
		return fmt.Errorf("updating the package lists: %w", err)
	}
	if err := apt(ctx, log, install...); err != nil {
		return fmt.Errorf("installing %s: %w", strings.Join(packages, ", "), err)
	}
	return nil
}

func apt(ctx context.Context, log io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=120"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	cmd.Stdout, cmd.Stderr = log, log
	return cmd.Run()
}
