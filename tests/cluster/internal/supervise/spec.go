// Package supervise runs a group of programs and keeps them running. A group has process, mount and host-name namespaces of its own, and
// its supervisor is the first process in them: when it ends, for whatever reason, the kernel ends everything that it started, pods
// included, and their mounts go with them. It knows nothing of Kubernetes.
package supervise

import (
	"encoding/json"
	"fmt"
	"os"
)

// Spec is what one group consists of.
type Spec struct {
	Name     string            `json:"name"` // also the host name
	Folders  []Folder          `json:"folders,omitempty"`
	Sysctls  map[string]string `json:"sysctls,omitempty"` // key in the form net/ipv4/ip_forward
	Programs []Program         `json:"programs"`
	Logs     string            `json:"logs"` // folder
	// Devices asks for a /sys that shows the group's own network.
	Devices bool `json:"devices,omitempty"`
}

// Folder is a place in the file system that the group has to itself.
type Folder struct {
	At   string `json:"at"`
	From string `json:"from,omitempty"` // where its content lives; in memory where empty
}

// Program is started at once, and again whenever it ends.
type Program struct {
	Name string   `json:"name"`
	Args []string `json:"args"` // the first is the binary's path
	Env  []string `json:"env,omitempty"`
}

// Load reads a Spec.
func Load(path string) (Spec, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Spec{}, fmt.Errorf("reading the group: %w", err)
	}
	var s Spec
	if err := json.Unmarshal(data, &s); err != nil {
		return Spec{}, fmt.Errorf("reading the group %s: %w", path, err)
	}
	return s, nil
}

// Save writes a Spec.
func (s Spec) Save(path string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}
