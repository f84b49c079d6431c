// Package attest finds out who is asking: from a pod-bound service-account token, judged by the API server, or from a client
// certificate of this mesh, to the pod that it was issued for; and which account a machine outside of the cluster acts for, from a token that is
// bound to nothing, or from a machine's certificate, where the mesh has machines of that account. It believes no claim that the proof does not carry,
// issues nothing and fails closed.
package attest

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/ca/issue"
	"github.com/heddle-mesh/heddle/internal/spiffe"
)

// Caller is a proven pod, or a machine that acts for a proven account.
type Caller struct {
	Machine        bool // there is no pod: what follows on the account is empty
	Identity       spiffe.Identity
	Namespace      string
	ServiceAccount string
	PodName        string
	PodUID         string
	Node           string
	Pod            *corev1.Pod // as the cluster has it; read only
}

// Proof is what a caller shows. Token counts where there is one and somebody can judge it.
type Proof struct {
	Token string
	// Chain is a client certificate that TLS has verified against the mesh's roots, leaf first.
	Chain []*x509.Certificate
	// ClaimedPod names the caller's pod, for a proof by certificate: a certificate names an identity, which many pods may share. The
	// claim is believed only where that pod runs as that identity.
	ClaimedPod string
	// Machine is whether the caller may be a machine, to who judges it.
	Machine bool
}

// Refusal is why a caller is not believed. Who is what the proof names, as far as it names anybody: it is for logs only.
type Refusal struct {
	Check  string // a word, fit for a metric label
	Who    string
	Reason string
}

// Error names the caller and the reason.
func (r *Refusal) Error() string {
	who := r.Who
	if who == "" {
		who = "an unknown caller"
	}
	return fmt.Sprintf("%s is refused (%s): %s", who, r.Check, r.Reason)
}

// Reviewer is the part of a typed client that judges tokens.
type Reviewer interface {
	Create(ctx context.Context, review *authenticationv1.TokenReview, opts metav1.CreateOptions) (*authenticationv1.TokenReview, error)
}

// Pods finds a pod; its error for a missing one satisfies apierrors.IsNotFound.
type Pods func(ctx context.Context, namespace, name string) (*corev1.Pod, error)

// Config is what an Attestor needs.
type Config struct {
	Reviewer    Reviewer
	Audience    string // that tokens must be made for
	TrustDomain string
	Aliases     []string // trust domains that certificates may be of, too: of who has not renewed his since they were TrustDomain
	Cached      Pods     // the shared cache, asked first
	// Machines reports whether machines may act for a service account: where a WorkloadGroup of its namespace says so. Nil: there are none.
	Machines func(namespace, account string) bool
	Live     Pods // the API server, asked where the cache does not know better: a new pod may ask before the cache has it
}

// Attestor judges proofs.
type Attestor struct{ Config }

// New returns an Attestor.
func New(c Config) *Attestor { return &Attestor{c} }

// Attest returns the pod that p proves, or an error: a *Refusal where p is not good enough, any other where that could not be found
// out.
func (a *Attestor) Attest(ctx context.Context, p Proof) (Caller, error) {
	switch {
	case p.Token != "":
		return a.byTokenOrElse(ctx, p)
	case len(p.Chain) > 0 && p.Machine && issue.OfMachine(p.Chain[0]):
		return a.byMachinesCertificate(p)
	case len(p.Chain) > 0:
		return a.byCertificate(ctx, p)
	}
	return Caller{}, &Refusal{Check: "proof", Reason: "neither a token nor a client certificate"}
}

// byTokenOrElse judges a token. Where nobody can, since the API server does not answer, a certificate proves what it proves without any token: replicas
// can go, and their proxies to another, meanwhile.
func (a *Attestor) byTokenOrElse(ctx context.Context, p Proof) (Caller, error) {
	caller, err := a.byToken(ctx, p)
	if err == nil || IsRefusal(err) || len(p.Chain) == 0 {
		return caller, err
	}
	p.Token = ""
	if certified, certErr := a.Attest(ctx, p); certErr == nil {
		return certified, nil
	}
	return caller, err
}

// Keys of a TokenReview's extra claims: set for tokens that are bound to a pod, and the one that says of no binding.
const (
	extraPrefix     = "authentication.kubernetes.io/"
	extraPodName    = extraPrefix + "pod-name"
	extraPodUID     = extraPrefix + "pod-uid"
	extraCredential = extraPrefix + "credential-id"
)

// accountPrefix begins the user name of every service account.
const accountPrefix = "system:serviceaccount:"

func (a *Attestor) byToken(ctx context.Context, p Proof) (Caller, error) {
	token := p.Token
	review, err := a.Reviewer.Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{a.Audience}},
	}, metav1.CreateOptions{})
	if err != nil {
		return Caller{}, fmt.Errorf("asking the API server about a token: %w", err)
	}
	if s := review.Status; !s.Authenticated {
		return Caller{}, &Refusal{Check: "token", Who: claimed(token), Reason: strings.TrimSuffix("the token is not valid: "+s.Error, ": ")}
	}
	c, err := a.judge(review.Status)
	switch {
	case err != nil:
		return Caller{}, err
	case c.PodName != "" && c.PodUID != "":
		return a.bind(ctx, c)
	case !p.Machine || bound(review.Status.User.Extra):
		return Caller{}, &Refusal{Check: "binding", Who: review.Status.User.Username, Reason: "the token is not bound to a pod"}
	}
	return a.admit(c)
}

// bound reports whether a token is bound to anything: to a pod that cannot be told, to a node, or to what later versions may know.
func bound(extra map[string]authenticationv1.ExtraValue) bool {
	for key := range extra {
		if strings.HasPrefix(key, extraPrefix) && key != extraCredential {
			return true
		}
	}
	return false
}

// admit lets a machine act for its account, where there may be machines of it.
func (a *Attestor) admit(c Caller) (Caller, error) {
	if a.Machines == nil || !a.Machines(c.Namespace, c.ServiceAccount) {
		return Caller{}, &Refusal{Check: "machine", Who: c.Identity.String(),
			Reason: "the proof is bound to no pod, and no WorkloadGroup of the namespace that is in force has machines of its service account"}
	}
	c.Machine = true
	return c, nil
}

// maxClaim bounds what a stranger can write into a log.
const maxClaim = 128

// claimed returns what a token that is not valid says of itself: a hint for whoever reads the log, and for nothing else.
func claimed(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Subject string `json:"sub"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims.Subject == "" {
		return ""
	}
	return fmt.Sprintf("somebody who claims to be %.*q", maxClaim, claims.Subject)
}

// judge reads the review of a valid token. A server that does not know audiences answers without any: that is no proof.
func (a *Attestor) judge(s authenticationv1.TokenReviewStatus) (Caller, error) {
	who := s.User.Username
	if !slices.Contains(s.Audiences, a.Audience) {
		return Caller{}, &Refusal{Check: "audience", Who: who, Reason: fmt.Sprintf("the token is not for %s", a.Audience)}
	}
	account, ok := strings.CutPrefix(who, accountPrefix)
	namespace, name, found := strings.Cut(account, ":")
	if !ok || !found {
		return Caller{}, &Refusal{Check: "account", Who: who, Reason: "not a service account"}
	}
	id, err := spiffe.New(a.TrustDomain, namespace, name)
	if err != nil {
		return Caller{}, &Refusal{Check: "account", Who: who, Reason: err.Error()}
	}
	return Caller{Identity: id, Namespace: namespace, ServiceAccount: name, PodName: one(s.User.Extra[extraPodName]), PodUID: one(s.User.Extra[extraPodUID])}, nil
}

func one(values authenticationv1.ExtraValue) string {
	if len(values) != 1 {
		return ""
	}
	return values[0]
}

// named reads whose a certificate is. One of an alias proves the same account of the trust domain.
func (a *Attestor) named(leaf *x509.Certificate) (spiffe.Identity, error) {
	if len(leaf.URIs) != 1 {
		return spiffe.Identity{}, &Refusal{Check: "certificate", Reason: fmt.Sprintf("it has %d URI names, want one", len(leaf.URIs))}
	}
	id, err := spiffe.Parse(leaf.URIs[0].String())
	if err != nil {
		return id, &Refusal{Check: "certificate", Who: leaf.URIs[0].String(), Reason: err.Error()}
	}
	if slices.Contains(a.Aliases, id.TrustDomain) {
		id.TrustDomain = a.TrustDomain
	}
	if id.TrustDomain != a.TrustDomain {
		return id, &Refusal{Check: "certificate", Who: id.String(), Reason: "of another trust domain"}
	}
	return id, nil
}

// byMachinesCertificate proves the account of a machine by a certificate that was issued to a machine. It says nothing of a pod, and a pod's nothing of a
// machine: what a pod loses does not outlive it as a machine.
func (a *Attestor) byMachinesCertificate(p Proof) (Caller, error) {
	id, err := a.named(p.Chain[0])
	if err != nil {
		return Caller{}, err
	}
	return a.admit(Caller{Identity: id, Namespace: id.Namespace, ServiceAccount: id.ServiceAccount})
}

func (a *Attestor) byCertificate(ctx context.Context, p Proof) (Caller, error) {
	id, err := a.named(p.Chain[0])
	if err != nil {
		return Caller{}, err
	}
	if issue.OfMachine(p.Chain[0]) {
		return Caller{}, &Refusal{Check: "binding", Who: id.String(), Reason: "a machine's certificate proves no pod"}
	}
	if p.ClaimedPod == "" {
		return Caller{}, &Refusal{Check: "binding", Who: id.String(), Reason: "a certificate alone names no pod"}
	}
	return a.bind(ctx, Caller{Identity: id, Namespace: id.Namespace, ServiceAccount: id.ServiceAccount, PodName: p.ClaimedPod})
}

// bind completes c by the pod that it names, which must exist, have its UID and run as its account.
func (a *Attestor) bind(ctx context.Context, c Caller) (Caller, error) {
	pod, err := a.Cached(ctx, c.Namespace, c.PodName)
	if err != nil || mismatch(c, pod) != "" {
		pod, err = a.Live(ctx, c.Namespace, c.PodName)
	}
	if apierrors.IsNotFound(err) {
		return Caller{}, &Refusal{Check: "pod", Who: c.Identity.String(), Reason: fmt.Sprintf("there is no pod %s/%s", c.Namespace, c.PodName)}
	}
	if err != nil {
		return Caller{}, fmt.Errorf("looking for pod %s/%s: %w", c.Namespace, c.PodName, err)
	}
	if reason := mismatch(c, pod); reason != "" {
		return Caller{}, &Refusal{Check: "pod", Who: c.Identity.String(), Reason: reason}
	}
	c.PodUID, c.Node, c.Pod = string(pod.UID), pod.Spec.NodeName, pod
	return c, nil
}

func mismatch(c Caller, pod *corev1.Pod) string {
	account := accountOf(pod)
	switch {
	case c.PodUID != "" && string(pod.UID) != c.PodUID:
		return fmt.Sprintf("pod %s/%s is another one now", c.Namespace, c.PodName)
	case account != c.ServiceAccount:
		return fmt.Sprintf("pod %s/%s runs as %s", c.Namespace, c.PodName, account)
	case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
		return fmt.Sprintf("pod %s/%s has ended", c.Namespace, c.PodName)
	}
	return ""
}

// IsRefusal reports whether err says that the proof is not good enough, rather than that it could not be judged.
func IsRefusal(err error) bool {
	var r *Refusal
	return errors.As(err, &r)
}
