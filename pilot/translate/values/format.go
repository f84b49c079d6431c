package values

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Operators are the command operators (%NAME%) that proxies have. tests/contract holds the list against the proxy's own.
func Operators() []string {
	out := []string{"BYTES_RECEIVED", "BYTES_SENT", "CONNECTION_ID", "CONNECTION_TERMINATION_DETAILS", "DOWNSTREAM_LOCAL_PORT", "DOWNSTREAM_REMOTE_PORT", "DURATION", "GRPC_STATUS", "HOSTNAME", "PATH", "STREAM_ID",
		"GRPC_STATUS_NUMBER", "PROTOCOL", "REQUESTED_SERVER_NAME", "REQUEST_DURATION", "RESPONSE_CODE", "RESPONSE_CODE_DETAILS", "RESPONSE_DURATION",
		"RESPONSE_FLAGS", "RESPONSE_FLAGS_LONG", "RESPONSE_TX_DURATION", "ROUTE_NAME", "START_TIME", "START_TIME_MILLIS", "TRACE_ID", "UPSTREAM_CLUSTER", "UPSTREAM_CLUSTER_RAW",
		"UPSTREAM_REQUEST_ATTEMPT_COUNT", "UPSTREAM_TRANSPORT_FAILURE_REASON", "VIRTUAL_HOST_NAME"}
	for _, address := range []string{"DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "DOWNSTREAM_LOCAL_ADDRESS", "DOWNSTREAM_REMOTE_ADDRESS", "UPSTREAM_HOST",
		"UPSTREAM_LOCAL_ADDRESS", "UPSTREAM_REMOTE_ADDRESS"} {
		out = append(out, address, address+"_WITHOUT_PORT")
	}
	for _, of := range []string{"TLS_VERSION", "TLS_CIPHER", "PEER_URI_SAN", "PEER_SUBJECT", "PEER_FINGERPRINT_256", "LOCAL_URI_SAN"} {
		out = append(out, "DOWNSTREAM_"+of, "UPSTREAM_"+of)
	}
	return out
}

// startTimes are the layouts that START_TIME may have.
func startTimes() []string {
	return []string{"", "%s", "%Y-%m-%dT%H:%M:%S.%3fZ", "%Y-%m-%dT%H:%M:%SZ", "%Y/%m/%dT%H:%M:%S%z", "%d/%b/%Y:%H:%M:%S %z"}
}

// Format says what is wrong with a text that holds command operators; nil if proxies can write it. One that they cannot would keep them from taking
// anything else that travels with it.
func Format(text string) error {
	for text != "" {
		_, rest, found := strings.Cut(text, "%")
		switch {
		case !found:
			return nil
		case strings.HasPrefix(rest, "%"):
			text = rest[1:]
			continue
		}
		end := operatorEnd(rest)
		if end < 0 {
			return errors.New("a % without its twin; %% is a percent sign")
		}
		if err := operator(rest[:end]); err != nil {
			return err
		}
		text = rest[end+1:]
	}
	return nil
}

// operatorEnd finds the percent sign that ends an operator: the first outside of parentheses.
func operatorEnd(s string) int {
	open := 0
	for i := range len(s) {
		switch s[i] {
		case '(':
			open++
		case ')':
			open--
		case '%':
			if open == 0 {
				return i
			}
		}
	}
	return -1
}

// operator reads NAME, NAME(ARGUMENT) or NAME(ARGUMENT):LENGTH.
func operator(s string) error {
	name, arg := s, ""
	if i := strings.IndexByte(s, '('); i >= 0 {
		j := strings.LastIndexByte(s, ')')
		if j < i {
			return fmt.Errorf("%%%s%%: unbalanced parentheses", s)
		}
		name, arg = s[:i], s[i+1:j]
		if rest := s[j+1:]; rest != "" {
			if n, err := strconv.Atoi(strings.TrimPrefix(rest, ":")); err != nil || n <= 0 || rest[0] != ':' {
				return fmt.Errorf("%%%s%%: bad length %q", s, rest)
			}
		}
	}
	known := slices.Contains(Operators(), name) && arg == ""
	switch name {
	case "REQ", "REQ_WITHOUT_QUERY", "RESP":
		first, _, _ := strings.Cut(arg, "?")
		known = first != ""
	case "QUERY_PARAM":
		known = arg != ""
	case "PATH":
		query, which, _ := strings.Cut(arg, ":")
		known = slices.Contains([]string{"", "WQ", "NQ"}, query) && slices.Contains([]string{"", "ORIG", "PATH", "ORIG_OR_PATH"}, which)
	case "START_TIME":
		known = slices.Contains(startTimes(), arg)
	}
	if !known {
		return fmt.Errorf("%%%s%%: not implemented by this version", s)
	}
	return nil
}
