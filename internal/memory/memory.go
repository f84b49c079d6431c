// Package memory finds out how much memory Go's runtime may use, so that it collects garbage, and a proxy refuses requests, before the kernel ends the process.
package memory

import (
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"strconv"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/heddle-mesh/heddle/api/wire"
)

// Limit is what Go's runtime is to stay below.
type Limit struct {
	Bytes int64 // 0: as the runtime knows by itself, or as the control group says
	Group bool  // the control group says it
}

// Read reads what the environment says: GOMEMLIMIT is for the runtime itself, the container's limit comes next, and without either the control group decides.
func Read(env func(string) string) (Limit, error) {
	text := env(wire.EnvMemoryLimit)
	switch {
	case env("GOMEMLIMIT") != "":
		return Limit{}, nil
	case text == "":
		return Limit{Group: true}, nil
	}
	limit, err := strconv.ParseInt(text, 10, 64)
	if err != nil || limit <= 0 {
		return Limit{}, fmt.Errorf("reading the environment: %s: %q is no number of bytes", wire.EnvMemoryLimit, text)
	}
	return Limit{Bytes: target(uint64(limit))}, nil
}

// Set tells Go's runtime. An error says why the control group could not be asked: then there is no limit.
func (l Limit) Set() error {
	bytes, err := l.resolve(memlimit.FromCgroup)
	if bytes > 0 {
		debug.SetMemoryLimit(bytes)
	}
	return err
}

// resolve is the number of bytes, 0: nothing is to be set. group says what this process's control group and those above it allow.
func (l Limit) resolve(group func() (uint64, error)) (int64, error) {
	if !l.Group {
		return l.Bytes, nil
	}
	limit, err := group()
	switch {
	case errors.Is(err, memlimit.ErrNoLimit), errors.Is(err, memlimit.ErrNoCgroup), errors.Is(err, memlimit.ErrCgroupsNotSupported):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("reading the control group's memory limit: %w", err)
	}
	return target(limit), nil
}

// target leaves some of a limit to what the runtime does not count.
func target(limit uint64) int64 { return int64(min(limit, math.MaxInt64) / 100 * wire.MemoryTarget) }
