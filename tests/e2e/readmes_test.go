package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/samples"
	"github.com/heddle-mesh/heddle/tests/tour"
)

// TestReadmes runs every command of the samples' READMEs, as a reader does after `make demo`, and wants what the comment beside it says. What
// stands in a block of the kind "sh setup", the demo has done; the demo's own tests compare it with that.
func TestReadmes(t *testing.T) {
	c := connect(t)
	paths, err := samples.Readmes()
	if err != nil || len(paths) == 0 {
		t.Fatalf("no READMEs (%v)", err)
	}
	for _, path := range paths {
		text, err := fs.ReadFile(samples.FS, path)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Dir(path), func(t *testing.T) {
			r := newReader(t, c)
			asked := 0
			for _, block := range samples.Blocks(string(text), samples.Commands) {
				asked += r.block(block)
			}
			if asked == 0 {
				t.Error("this README asks nobody anything")
			}
			if err := c.Clear(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// reader is somebody who types commands: with the samples, kubectl, and the demo's cluster.
type reader struct {
	t      *testing.T
	folder string
	set    []string // variables
}

// newReader makes a folder with the samples as somebody has them who has named the shop's image in them. Authorities stand where READMEs have
// certificates that they make themselves.
func newReader(t *testing.T, c *tour.Cluster) *reader {
	t.Helper()
	r := &reader{t: t, folder: t.TempDir()}
	write := func(name string, text []byte) {
		path := filepath.Join(r.folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	paths, err := fs.Glob(samples.FS, "*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text, err := fs.ReadFile(samples.FS, path)
		if err != nil {
			t.Fatal(err)
		}
		write(filepath.Join("samples", path), bytes.ReplaceAll(text, []byte("heddle.local/shop:demo"), []byte(c.Image)))
	}
	write("shop.example.com.pem", c.Certs.CA)
	market, err := tour.NewCertificates(marketHost)
	if err != nil {
		t.Fatal(err)
	}
	write("market.pem", slices.Concat(market.Host[marketHost].Cert, market.CA))
	write("market.key", market.Host[marketHost].Key)
	return r
}

// block runs the commands of a block and counts those of which something is expected.
func (r *reader) block(commands []string) (asked int) {
	r.t.Helper()
	for _, command := range commands {
		if assignment.MatchString(command) {
			r.set = append(r.set, command)
			continue
		}
		want, err := expected(command)
		if err != nil {
			r.t.Error(err)
			continue
		}
		r.t.Logf("$ %s", command)
		if want == nil {
			if _, err := r.run(command); err != nil {
				r.t.Fatal(err)
			}
			continue
		}
		asked++
		eventually(r.t, r.t.Context(), ingressLimit, func() error {
			got, err := r.ask(command)
			if err == nil {
				err = want.met(got)
			}
			return err
		})
	}
	return asked
}

// run runs a command and returns what it printed.
func (r *reader) run(command string) (string, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", strings.Join(append(slices.Clone(r.set), command), "\n"))
	kubeconfig := kubeconfig(r.t)
	cmd.Dir = r.folder
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "PATH="+filepath.Join(filepath.Dir(kubeconfig), "bin")+":"+os.Getenv("PATH"))
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", command, err, said.String())
	}
	return out.String(), nil
}

// ask runs a command that sends requests. What curl is to do, is done here: not every machine has it.
func (r *reader) ask(command string) (*tour.Tally, error) {
	if strings.HasPrefix(command, "curl ") {
		words, err := r.run(`printf '%s\n' ` + strings.TrimPrefix(command, "curl "))
		if err != nil {
			return nil, err
		}
		return curl(r.t.Context(), r.folder, strings.Fields(words))
	}
	out, err := r.run(command)
	if err != nil {
		return nil, err
	}
	var got tour.Tally
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		return nil, fmt.Errorf("%s printed no tally: %w: %s", command, err, out)
	}
	return &got, nil
}

// curl does what "curl --cacert FILE --resolve HOST:PORT:ADDRESS URL" does.
func curl(ctx context.Context, folder string, words []string) (*tour.Tally, error) {
	if len(words) != 5 || words[0] != "--cacert" || words[2] != "--resolve" {
		return nil, fmt.Errorf("this test knows no curl %q", words)
	}
	authority, err := os.ReadFile(filepath.Join(folder, words[1]))
	if err != nil {
		return nil, err
	}
	resolve := strings.SplitN(words[3], ":", 3)
	if len(resolve) != 3 {
		return nil, fmt.Errorf("--resolve %q", words[3])
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
			if to == resolve[0]+":"+resolve[1] {
				to = net.JoinHostPort(resolve[2], resolve[1])
			}
			return new(net.Dialer).DialContext(ctx, network, to)
		}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, words[4], nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: transport, Timeout: 15 * time.Second}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return nil, err
	}
	return &tour.Tally{Sent: 1, Codes: map[string]int{fmt.Sprint(resp.StatusCode): 1}}, nil
}

var (
	assignment  = regexp.MustCompile(`^[A-Z]+=`)
	asking      = regexp.MustCompile(`^curl |/shop (client|tcpclient) `)
	expectation = regexp.MustCompile(` # (\d{3}|ok|error)\b(?: by (v\d(?:, v\d)*))?`)
)

// promise is what a README says of a command's answers.
type promise struct {
	code     string   // of all
	versions []string // all that answer, where it says so
}

// expected reads the comment beside a command; nil where it sends no requests. One that sends some must say what comes of it.
func expected(command string) (*promise, error) {
	found := expectation.FindStringSubmatch(command)
	switch {
	case !asking.MatchString(command):
		return nil, nil
	case found == nil:
		return nil, fmt.Errorf("no comment says what answers come: %s", command)
	case found[2] == "":
		return &promise{code: found[1]}, nil
	}
	return &promise{found[1], strings.Split(found[2], ", ")}, nil
}

func (p *promise) met(got *tour.Tally) error {
	versions := slices.Sorted(maps.Keys(got.Versions))
	if !got.All(p.code) || p.versions != nil && !slices.Equal(versions, p.versions) {
		return fmt.Errorf("%s; the README says %s by %v", got, p.code, p.versions)
	}
	return nil
}

// A README whose comment is wrong, or missing, fails.
func TestPromises(t *testing.T) {
	const ask = "kubectl exec deploy/x -- /shop client http://catalog/   "
	if want, err := expected("kubectl apply -f x.yaml   # 200"); want != nil || err != nil {
		t.Errorf("a command that asks nobody: %v (%v)", want, err)
	}
	if _, err := expected(ask + "# fine"); err == nil {
		t.Error("a comment that says nothing passes")
	}
	for comment, holds := range map[string]bool{"# 200 by v1, v2": true, "# 200": true, "# 200: whoever": true, "# 200 by v1": false, "# 503": false} {
		want, err := expected(ask + comment)
		if err != nil {
			t.Fatal(err)
		}
		got := &tour.Tally{Sent: 3, Codes: map[string]int{"200": 3}, Versions: map[string]int{"v1": 2, "v2": 1}}
		if err := want.met(got); (err == nil) != holds {
			t.Errorf("%s: %v", comment, err)
		}
	}
}
