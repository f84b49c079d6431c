package tour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	adminURL     = "http://127.0.0.1:15000"
	dueLimit     = 2 * time.Minute  // the demo installs Heddle with certificates of 200 s: half of a life and a little
	renewalLimit = 40 * time.Second // after the outage: proxies try again within a tenth of what remains
	goingLimit   = 10 * time.Second // what the control plane needs to go, and what a proxy may wait for its answer
	noRenewal    = "no new certificate"
)

// certificate is what a proxy tells of its workload's certificate.
type certificate struct {
	Serial    string    `json:"serial"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

// due is the time within which the proxy asks for its next certificate: half of the life from the issue on, give or take a tenth of that.
// The authority dates certificates back by a tenth of the life.
func (c certificate) due() (earliest, latest time.Time) {
	life := c.NotAfter.Sub(c.NotBefore) * 10 / 11
	return c.NotAfter.Add(-life * 55 / 100), c.NotAfter.Add(-life * 45 / 100)
}

// certificate asks the client's proxy for its certificate.
func (s *Stage) certificate(ctx context.Context) (certificate, error) {
	t, err := s.client(ctx, fromClient, adminURL+"/certs")
	if err != nil {
		return certificate{}, err
	}
	var shown struct{ Workload certificate }
	if err := json.Unmarshal([]byte(t.Body), &shown); err != nil {
		return certificate{}, fmt.Errorf("reading the proxy's certificates: %w in %q", err, t.Body)
	}
	if shown.Workload.Serial == "" {
		return certificate{}, errors.New("the client's proxy has no certificate")
	}
	return shown.Workload, nil
}

// soonDue waits until the client's certificate is one whose renewal falls into an outage that begins now.
func (s *Stage) soonDue(ctx context.Context) (c certificate, err error) {
	s.Ran("kubectl -n shop exec deploy/client-v1 -c client -- /shop client %s/certs", adminURL)
	err = eventually(ctx, dueLimit, func(ctx context.Context) error {
		if c, err = s.certificate(ctx); err != nil {
			return err
		}
		now := time.Now()
		earliest, latest := c.due()
		if earliest.Before(now.Add(goingLimit)) || latest.After(now.Add(outage-goingLimit)) {
			select { // there is nothing to see for a while
			case <-ctx.Done():
			case <-time.After(2 * time.Second):
			}
			return fmt.Errorf("the client's certificate %s is renewed in %v to %v, not within the outage", c.Serial, time.Until(earliest).Round(time.Second), time.Until(latest).Round(time.Second))
		}
		s.Saw("the client's certificate %s is to be renewed in %v to %v, at half of its life: within the outage", c.Serial,
			earliest.Sub(now).Round(time.Second), latest.Sub(now).Round(time.Second))
		return nil
	})
	return c, err
}

// missed wants the certificate still to be the one from before the outage, and its renewal tried in vain.
func (s *Stage) missed(ctx context.Context, before certificate, gone time.Time) error {
	now, err := s.certificate(ctx)
	if err != nil {
		return err
	}
	if now.Serial != before.Serial {
		return fmt.Errorf("the client's certificate was renewed without a control plane: %s", now.Serial)
	}
	p, err := s.Pod(ctx, ShopNamespace, fromClient.Selector)
	if err != nil {
		return err
	}
	text, err := s.log(ctx, p, &corev1.PodLogOptions{Container: "heddle-proxy", SinceTime: &metav1.Time{Time: gone.Add(time.Second)}})
	if err != nil {
		return err
	}
	tries, last := 0, ""
	for line := range strings.Lines(text) {
		if strings.Contains(line, noRenewal) {
			tries, last = tries+1, line
		}
	}
	if tries == 0 {
		return fmt.Errorf("the client's proxy did not try to renew its certificate %s during the outage", before.Serial)
	}
	s.Saw("the client's proxy asked for a new one %d times in vain: %s", tries, oneLine(last))
	return nil
}

// renewed waits until the client's certificate is another one.
func (s *Stage) renewed(ctx context.Context, before certificate) error {
	return eventually(ctx, renewalLimit, func(ctx context.Context) error {
		now, err := s.certificate(ctx)
		if err != nil {
			return err
		}
		if now.Serial == before.Serial {
			return fmt.Errorf("the client's certificate %s was not renewed", before.Serial)
		}
		s.Saw("the client's certificate was renewed once the control plane was back: %s", now.Serial)
		return nil
	})
}
