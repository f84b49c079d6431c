package memory

import (
	"errors"
	"math"
	"runtime/debug"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/heddle-mesh/heddle/api/wire"
)

// TestLimit: of what a process may use, some is left to what Go's runtime does not count. Who says more about this process decides.
func TestLimit(t *testing.T) {
	const none = math.MaxUint64
	for name, c := range map[string]struct {
		own, container string
		group          uint64
		failure        error
		want           int64
	}{
		"a container's":                          {"", "536870912", 1 << 40, nil, 483183810},
		"the control group's":                    {"", "", 536870912, nil, 483183810},
		"none":                                   {"", "", none, memlimit.ErrNoLimit, 0},
		"no control group":                       {"", "", none, memlimit.ErrNoCgroup, 0},
		"a system without control groups":        {"", "", none, memlimit.ErrCgroupsNotSupported, 0},
		"the runtime's own":                      {"500MiB", "1000", 1000, nil, 0},
		"the runtime's own, in a control group":  {"500MiB", "", 1000, nil, 0},
		"none that the runtime is to know of":    {"off", "", 1000, nil, 0},
		"a control group's that is nearly none":  {"", "", none, nil, math.MaxInt64 / 100 * 90},
		"a control group's that nobody can read": {"", "", none, errors.New("broken"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := Read(func(name string) string {
				return map[string]string{"GOMEMLIMIT": c.own, wire.EnvMemoryLimit: c.container}[name]
			})
			if err != nil {
				t.Fatal(err)
			}
			got, err := l.resolve(func() (uint64, error) { return c.group, c.failure })
			if broken := name == "a control group's that nobody can read"; got != c.want || (err != nil) != broken {
				t.Errorf("%d, want %d: %v", got, c.want, err)
			}
		})
	}
}

func TestOddLimits(t *testing.T) {
	for _, text := range []string{"512Mi", "0", "-1", "99999999999999999999"} {
		if l, err := Read(func(name string) string { return map[string]string{wire.EnvMemoryLimit: text}[name] }); err == nil {
			t.Errorf("%q: %+v", text, l)
		}
	}
}

// TestSet holds that what the machine's control groups say can be read, whatever it is.
func TestSet(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	if err := (Limit{Group: true}).Set(); err != nil {
		t.Error(err)
	}
	if err := (Limit{Bytes: 1 << 40}).Set(); err != nil || debug.SetMemoryLimit(-1) != 1<<40 {
		t.Errorf("%d, %v", debug.SetMemoryLimit(-1), err)
	}
}
