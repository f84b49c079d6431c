package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// surround turns the copy of the machine's mounts that the group was born with into the group's own view.
func surround(s Spec) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("separating mounts: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	if s.Devices {
		if err := ownDevices(); err != nil {
			return err
		}
	}
	for _, f := range s.Folders {
		if err := own(f); err != nil {
			return err
		}
	}
	// Containers that ask for shared mounts need a shared root; it is shared with nobody outside this group.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, ""); err != nil {
		return fmt.Errorf("sharing mounts inside the group: %w", err)
	}
	if err := syscall.Sethostname([]byte(s.Name)); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	for key, value := range s.Sysctls {
		err := os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // the kernel may lack, say, bridge netfilter
			return fmt.Errorf("setting %s: %w", key, err)
		}
	}
	return nil
}

func own(f Folder) error {
	if err := os.MkdirAll(f.At, 0o755); err != nil {
		return err
	}
	if f.From == "" {
		if err := syscall.Mount("tmpfs", f.At, "tmpfs", 0, "mode=0755"); err != nil {
			return fmt.Errorf("mounting %s: %w", f.At, err)
		}
		return nil
	}
	if err := os.MkdirAll(f.From, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount(f.From, f.At, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting %s at %s: %w", f.From, f.At, err)
	}
	return nil
}

// ownDevices mounts a /sys that shows the interfaces of the group's network, with the machine's cgroups where they were.
func ownDevices() error {
	const keep = "/run/heddle-cgroup"
	if err := os.MkdirAll(keep, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("/sys/fs/cgroup", keep, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("keeping cgroups: %w", err)
	}
	if err := syscall.Mount("sysfs", "/sys", "sysfs", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /sys: %w", err)
	}
	if err := syscall.Mount(keep, "/sys/fs/cgroup", "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("mounting cgroups: %w", err)
	}
	return syscall.Unmount(keep, syscall.MNT_DETACH)
}
