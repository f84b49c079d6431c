// Command gen copies the custom resource definitions of the pinned API modules into manifests/crds/generated, one JSON file
// per definition. It changes nothing in them: the version stamp is added when they are applied.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	_ "sigs.k8s.io/gateway-api/pkg/consts" // keeps the module, whose definitions are read, in go.mod
	"sigs.k8s.io/yaml"
)

const target = "manifests/crds/generated"

// groups are the API groups that Heddle installs.
func groups() []string {
	return []string{"networking.istio.io", "security.istio.io", "telemetry.istio.io", "gateway.networking.k8s.io"}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := output("go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return fmt.Errorf("finding the module: %w", err)
	}
	sources, err := sources()
	if err != nil {
		return err
	}
	if err := clear(filepath.Join(root, target)); err != nil {
		return err
	}
	count := 0
	for _, source := range sources {
		n, err := split(source, filepath.Join(root, target))
		if err != nil {
			return fmt.Errorf("reading %s: %w", source, err)
		}
		count += n
	}
	fmt.Printf("%d custom resource definitions in %s\n", count, target)
	return nil
}

// sources are the files of the pinned modules that hold definitions.
func sources() ([]string, error) {
	istio, err := moduleDir("istio.io/api")
	if err != nil {
		return nil, err
	}
	gateway, err := moduleDir("sigs.k8s.io/gateway-api")
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(gateway, "config/crd/standard/*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("listing the gateway api's definitions: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no definitions in %s", gateway)
	}
	return append(files, filepath.Join(istio, "kubernetes/customresourcedefinitions.gen.yaml")), nil
}

// moduleDir downloads the module if the cache lacks it, and says where it is.
func moduleDir(module string) (string, error) {
	if _, err := output("go", "mod", "download", module); err != nil {
		return "", fmt.Errorf("downloading %s: %w", module, err)
	}
	dir, err := output("go", "list", "-m", "-f", "{{.Dir}}", module)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", module, err)
	}
	return dir, nil
}

func output(name string, args ...string) (string, error) {
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// clear removes what an earlier run wrote, so that a definition that upstream dropped goes too.
func clear(dir string) error {
	old, err := filepath.Glob(filepath.Join(dir, "*s.*.*"))
	if err != nil {
		return fmt.Errorf("listing %s: %w", dir, err)
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("removing an old definition: %w", err)
		}
	}
	return nil
}

// head is what gen needs to know of a document.
type head struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Group string `json:"group"`
	} `json:"spec"`
}

// split writes each definition of our groups in source to a file of its own in dir and counts them.
func split(source, dir string) (int, error) {
	text, err := os.ReadFile(source)
	if err != nil {
		return 0, fmt.Errorf("opening: %w", err)
	}
	count := 0
	for _, document := range strings.Split("\n"+string(text), "\n---") {
		var h head
		if err := yaml.Unmarshal([]byte(document), &h); err != nil {
			return count, fmt.Errorf("parsing: %w", err)
		}
		if h.Kind != "CustomResourceDefinition" || !slices.Contains(groups(), h.Spec.Group) {
			continue
		}
		text, err := yaml.YAMLToJSON([]byte(document))
		if err != nil {
			return count, fmt.Errorf("converting %s: %w", h.Metadata.Name, err)
		}
		path := filepath.Join(dir, h.Metadata.Name+".json")
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return count, fmt.Errorf("writing: %w", err)
		}
		count++
	}
	return count, nil
}
