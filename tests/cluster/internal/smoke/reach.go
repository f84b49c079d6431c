package smoke

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	authentication "k8s.io/api/authentication/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/mirror"
)

func (t tester) balanced(ctx context.Context) error {
	_, err := t.throughBalancer(ctx, "balanced", func(mirror.Seen) bool { return true })
	return err
}

func (t tester) balancedLocal(ctx context.Context) error {
	seen, err := t.throughBalancer(ctx, "local-edge", func(s mirror.Seen) bool {
		return s.Machine == "edge" && strings.HasPrefix(s.Client, t.cluster.Plan.Machine.String()+":")
	})
	if err != nil {
		return fmt.Errorf("last answer %+v: %w", seen, err)
	}
	return nil
}

// throughBalancer asks a Service from the machine until the answer is good.
func (t tester) throughBalancer(ctx context.Context, name string, good func(mirror.Seen) bool) (mirror.Seen, error) {
	var seen mirror.Seen
	var last error
	for until := time.Now().Add(15 * time.Second); time.Now().Before(until); time.Sleep(200 * time.Millisecond) {
		service, err := t.client.CoreV1().Services(namespace).Get(ctx, name, meta.GetOptions{})
		if err != nil {
			return seen, err
		}
		given := service.Status.LoadBalancer.Ingress
		if len(given) == 0 {
			last = fmt.Errorf("service %s has no address", name)
			continue
		}
		text, err := Fetch("http://" + given[0].IP + "/")
		if last = err; err != nil {
			continue
		}
		if last = json.Unmarshal([]byte(text), &seen); last == nil && good(seen) {
			return seen, nil
		}
	}
	return seen, fmt.Errorf("service %s does not answer as it should: %w", name, last)
}

// Fetch gets a URL, without keeping the connection.
func Fetch(url string) (string, error) {
	client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func (t tester) noWayOut(ctx context.Context) error {
	const reason = "network is unreachable"
	for _, h := range t.cluster.Plan.OutsideHosts {
		if err := t.fails(ctx, "worker", reason, "curl", "http://"+h.Name+"/"); err != nil {
			return err
		}
	}
	return t.fails(ctx, "worker", reason, "tcp-client", "tcp.outside.example:9000", "hello")
}

func (t tester) wayOut(ctx context.Context) error {
	ca, err := os.ReadFile(t.cluster.Layout.OutsideCA())
	if err != nil {
		return err
	}
	for _, from := range []string{"edge", "roamer"} {
		if err := t.answers(ctx, from, `"name":"outside"`, "curl", "http://other.example/"); err != nil {
			return err
		}
		if err := t.answers(ctx, from, "hello", "tcp-client", "tcp.outside.example:9000", "hello"); err != nil {
			return err
		}
		if err := t.fails(ctx, from, "certificate", "curl", "https://api.outside.example/"); err != nil {
			return err
		}
		if err := t.answers(ctx, from, `"serverName":"api.outside.example"`, "curl", "-cacert-pem", string(ca), "https://api.outside.example/"); err != nil {
			return err
		}
	}
	return nil
}

func (t tester) review(ctx context.Context, token string) error {
	review, err := t.client.AuthenticationV1().TokenReviews().Create(ctx, &authentication.TokenReview{
		Spec: authentication.TokenReviewSpec{Token: token, Audiences: []string{"heddle-smoke"}},
	}, meta.CreateOptions{})
	if err != nil {
		return err
	}
	pod := review.Status.User.Extra["authentication.kubernetes.io/pod-name"]
	if !review.Status.Authenticated || !slices.Contains(review.Status.Audiences, "heddle-smoke") || !slices.Contains(pod, "worker") {
		return fmt.Errorf("the review says %+v", review.Status)
	}
	return nil
}
