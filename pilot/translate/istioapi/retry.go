package istioapi

import (
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

const retryByCode = "retriable-status-codes"

var (
	// defaultRetryOn is what is retried unless somebody says otherwise, as in Istio: nothing that may have reached the application.
	defaultRetryOn = []string{"cancelled", "connect-failure", "refused-stream", retryByCode, "unavailable"}

	// retryConditions are those that the proxy knows: all that Istio lets through.
	retryConditions = []string{"5xx", "cancelled", "connect-failure", "deadline-exceeded", "envoy-ratelimited", "gateway-error", "http3-post-connect-failure",
		"internal", "refused-stream", "reset", "reset-before-request", "resource-exhausted", "retriable-4xx", "retriable-headers", retryByCode, "unavailable"}
)

// Retry reads a retry policy; nil is Istio's default: two more attempts, of what surely did not happen.
func Retry(log *report.Log, path string, p *networking.HTTPRetry) *model.Retry {
	out := &model.Retry{Attempts: 2, On: defaultRetryOn, IgnorePreviousHosts: true}
	if p == nil {
		return out
	}
	out.Attempts = values.Count(log, path+".attempts", p.Attempts)
	out.PerTry = values.DurationOr(log, path+".perTryTimeout", p.PerTryTimeout, 0)
	out.Backoff = values.DurationOr(log, path+".backoff", p.Backoff, 0)
	out.RemoteLocalities = p.RetryRemoteLocalities.GetValue()
	if p.RetryIgnorePreviousHosts != nil {
		out.IgnorePreviousHosts, out.IgnorePreviousGiven = p.RetryIgnorePreviousHosts.Value, true
	}
	if p.RetryOn != "" {
		out.On, out.Codes = retryOn(log, path+".retryOn", p.RetryOn)
	}
	if out.Attempts == 0 {
		if p.PerTryTimeout != nil || p.RetryOn != "" {
			log.Errorf(path, "attempts is 0, which turns retries off: perTryTimeout and retryOn must not be given")
		}
		return &model.Retry{}
	}
	return out
}

// retryOn sorts conditions and status codes out of a list.
func retryOn(log *report.Log, path, list string) (on []string, codes []uint32) {
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if code, err := strconv.ParseUint(item, 10, 32); err == nil {
			if code < 100 || code > 599 {
				log.Errorf(path, "%d is not a status", code)
			}
			codes = append(codes, uint32(code))
			continue
		}
		if !slices.Contains(retryConditions, item) {
			log.Errorf(path, "%q is not a condition that this version implements", item)
		}
		on = append(on, item)
	}
	if len(codes) > 0 {
		on = append(on, retryByCode)
	}
	slices.Sort(on)
	slices.Sort(codes)
	return slices.Compact(on), slices.Compact(codes)
}
