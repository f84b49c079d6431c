package attest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// shortestToken is how many characters a token of a file has at least: it is a password that nobody needs to remember.
const shortestToken = 32

// TokenFile is a Reviewer where there is no API server: a file of lines "token namespace pod", in which empty lines and those that begin with # mean
// nothing. It is read for each review, so that a token that leaves the file is no proof any more. A file that others than its owner may read, or with a line that
// is not understood, proves nobody.
type TokenFile struct {
	Path string
	Pods Pods // where the pods are found that tokens are for
}

// Create reviews a token as an API server would: for an account, by the pod that it is bound to.
func (f TokenFile) Create(ctx context.Context, review *authenticationv1.TokenReview, _ metav1.CreateOptions) (*authenticationv1.TokenReview, error) {
	out := review.DeepCopy()
	namespace, name, err := f.find(review.Spec.Token)
	if err != nil {
		return nil, fmt.Errorf("reading tokens: %w", err)
	}
	if name == "" {
		out.Status = authenticationv1.TokenReviewStatus{Error: "it is not in the file"}
		return out, nil
	}
	pod, err := f.Pods(ctx, namespace, name)
	if err != nil {
		out.Status = authenticationv1.TokenReviewStatus{Error: fmt.Sprintf("there is no pod %s/%s", namespace, name)}
		return out, nil
	}
	out.Status = authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: review.Spec.Audiences, User: authenticationv1.UserInfo{
		Username: accountPrefix + namespace + ":" + accountOf(pod),
		Extra:    map[string]authenticationv1.ExtraValue{extraPodName: {name}, extraPodUID: {string(pod.UID)}},
	}}
	return out, nil
}

// find returns the pod that a token is for; an empty name: nobody's.
func (f TokenFile) find(token string) (namespace, pod string, err error) {
	info, err := os.Stat(f.Path)
	if err != nil {
		return "", "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", "", fmt.Errorf("%s: others than its owner may read it (mode %o)", f.Path, info.Mode().Perm())
	}
	data, err := os.ReadFile(f.Path)
	if err != nil {
		return "", "", err
	}
	wanted, seen := sha256.Sum256([]byte(token)), map[[sha256.Size]byte]bool{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if len(words) != 3 || len(words[0]) < shortestToken {
			return "", "", fmt.Errorf("%s: line %d is not a token of at least %d characters, a namespace and a pod", f.Path, n, shortestToken)
		}
		sum := sha256.Sum256([]byte(words[0])) // comparing digests tells nothing of how much of a token was right
		if seen[sum] {
			return "", "", fmt.Errorf("%s: line %d repeats a token", f.Path, n)
		}
		seen[sum] = true
		if sum == wanted {
			namespace, pod = words[1], words[2]
		}
	}
	if lines.Err() != nil {
		return "", "", errors.New(f.Path + ": a line is too long")
	}
	return namespace, pod, nil
}

func accountOf(pod *corev1.Pod) string {
	if pod.Spec.ServiceAccountName == "" {
		return "default"
	}
	return pod.Spec.ServiceAccountName
}
