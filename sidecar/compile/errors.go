package compile

import (
	"fmt"
	"strconv"

	matcher "github.com/envoyproxy/go-control-plane/envoy/config/common/matcher/v3"

	"github.com/heddle-mesh/heddle/sidecar/compile/values"
)

// errorCodes reads which statuses outlier detection takes for errors: one, or any of several. Nil: there is no matcher.
func errorCodes(in *matcher.MatchPredicate) ([]int, error) {
	rules := []*matcher.MatchPredicate{in}
	switch in.GetRule().(type) {
	case nil:
		return nil, nil
	case *matcher.MatchPredicate_OrMatch:
		rules = in.GetOrMatch().GetRules()
	}
	var out []int
	for i, rule := range rules {
		headers := rule.GetHttpResponseHeadersMatch().GetHeaders()
		if len(headers) != 1 || headers[0].GetName() != ":status" || headers[0].GetInvertMatch() {
			return nil, values.Wrong(fmt.Sprintf("rules[%d]", i), "only http_response_headers_match of one :status is implemented")
		}
		code, err := strconv.Atoi(headers[0].GetStringMatch().GetExact())
		if err != nil || code < 100 || code > 599 {
			return nil, values.Wrong(fmt.Sprintf("rules[%d].http_response_headers_match.headers[0].string_match", i), "exactly one status expected")
		}
		out = append(out, code)
	}
	return out, nil
}
