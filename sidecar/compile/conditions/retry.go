package conditions

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previous "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/priority/previous_priorities/v3"

	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/route"
)

// The extensions of retries that are honoured.
const (
	OtherHosts      = "envoy.retry_host_predicates.previous_hosts"
	OtherPriorities = "envoy.retry_priorities.previous_priorities"
)

func retryConditions() map[string]route.RetryOn {
	return map[string]route.RetryOn{
		"5xx": route.On5xx, "gateway-error": route.OnGatewayError, "reset": route.OnReset, "reset-before-request": route.OnResetBeforeRequest,
		"connect-failure": route.OnConnectFailure, "refused-stream": route.OnRefusedStream, "retriable-4xx": route.OnRetriable4xx,
		"retriable-status-codes": route.OnRetriableStatusCodes, "cancelled": route.OnGRPCCancelled, "deadline-exceeded": route.OnGRPCDeadlineExceeded,
		"internal": route.OnGRPCInternal, "resource-exhausted": route.OnGRPCResourceExhausted, "unavailable": route.OnGRPCUnavailable,
		"envoy-ratelimited": route.OnEnvoyRatelimited, "http3-post-connect-failure": route.OnHTTP3PostConnectFailure,
		"retriable-headers": route.OnRetriableHeaders,
	}
}

// IsRetryOn says whether a word of retry_on is honoured.
func IsRetryOn(word string) bool {
	_, known := retryConditions()[word]
	_, code := status(word)
	return known || code || word == ""
}

func status(word string) (code int, ok bool) {
	code, err := strconv.Atoi(word)
	return code, err == nil && http.StatusText(code) != ""
}

// Retry reads a retry policy; nil where there is none.
func Retry(in *routev3.RetryPolicy) (*route.Retry, error) {
	if in == nil {
		return nil, nil
	}
	out := &route.Retry{Attempts: int(values.Number(in.GetNumRetries(), 1)), PerTry: values.Duration(in.GetPerTryTimeout(), 0), PerTryIdle: values.Duration(in.GetPerTryIdleTimeout(), 0),
		Base: values.Duration(in.GetRetryBackOff().GetBaseInterval(), 25*time.Millisecond), HostPicks: int(in.GetHostSelectionRetryMaxAttempts())}
	out.Max = values.Duration(in.GetRetryBackOff().GetMaxInterval(), 10*out.Base)
	known := retryConditions()
	for _, word := range strings.Split(in.GetRetryOn(), ",") {
		word = strings.TrimSpace(word)
		if word == "" {
			continue
		}
		if on, ok := known[word]; ok {
			out.On |= on
			continue
		}
		code, ok := status(word)
		if !ok {
			return nil, values.Wrong("retry_on", "%q is not implemented", word)
		}
		out.On |= route.OnRetriableStatusCodes
		out.Codes = append(out.Codes, code)
	}
	for _, code := range in.GetRetriableStatusCodes() {
		out.Codes = append(out.Codes, int(code))
	}
	var err error
	if out.Fields, err = retryHeaders("retriable_headers", in.GetRetriableHeaders()); err != nil {
		return nil, err
	}
	if out.Only, err = retryHeaders("retriable_request_headers", in.GetRetriableRequestHeaders()); err != nil {
		return nil, err
	}
	for i, p := range in.GetRetryHostPredicate() {
		if p.GetName() != OtherHosts {
			return nil, values.Wrong(fmt.Sprintf("retry_host_predicate[%d]", i), "%q is not implemented", p.GetName())
		}
		out.OtherHost = true
	}
	if out.PriorityEvery, err = retryPriority(in.GetRetryPriority()); err != nil {
		return nil, err
	}
	return out, nil
}

// retryPriority reads after how many tries each time other priorities are tried; 0: never.
func retryPriority(in *routev3.RetryPolicy_RetryPriority) (int, error) {
	if in == nil {
		return 0, nil
	}
	if in.GetName() != OtherPriorities {
		return 0, values.Wrong("retry_priority", "%q is not implemented", in.GetName())
	}
	var m previous.PreviousPrioritiesConfig
	if err := in.GetTypedConfig().UnmarshalTo(&m); err != nil {
		return 0, values.Wrong("retry_priority.typed_config", "it is none of %s", m.ProtoReflect().Descriptor().FullName())
	}
	if m.GetUpdateFrequency() < 1 {
		return 0, values.Wrong("retry_priority.typed_config.update_frequency", "it must be more than 0")
	}
	return int(m.GetUpdateFrequency()), nil
}

func retryHeaders(path string, in []*routev3.HeaderMatcher) (route.Headers, error) {
	matches, err := Headers(path, in)
	if err != nil {
		return nil, err
	}
	out, err := route.NewHeaders(matches)
	if err != nil {
		return nil, fmt.Errorf("%s%w", path, err)
	}
	return out, nil
}
