package contract

import (
	"testing"

	"github.com/heddle-mesh/heddle/pilot/translate/values"
	"github.com/heddle-mesh/heddle/sidecar/format"
)

// TestBothSidesReadTheSameFormats holds that pilot refuses every text that the proxy would refuse, and no other.
func TestBothSidesReadTheSameFormats(t *testing.T) {
	texts := []string{"", "plain", "100%", "100%%", "%", "%%%", "%REQ(X-A)%", "%REQ(X-A?X-B):10%", "%REQ()%", "%REQ%", "%RESP(a):0%", "%RESP(a):x%", "%START_TIME(%s)%",
		"%START_TIME(%s.%9f)%", "%START_TIME(%Y-%m-%dT%H:%M:%SZ)% and %DURATION%", "%DURATION(x)%", "%NO_SUCH_THING%", "%REQ(a%", "%)(%", "%req(a)%", "%DYNAMIC_METADATA(a:b)%",
		"%HOSTNAME(x)%", "%ENVIRONMENT(X)%", "%REQ_WITHOUT_QUERY(X-A?X-B):10%", "%REQ_WITHOUT_QUERY()%", "%TRAILER(x)%", "%DOWNSTREAM_PEER_CERT%", "%FILTER_STATE(x)%",
		"%PATH()%", "%PATH(NQ)%", "%PATH(:ORIG):3%", "%PATH(WQ:ORIG_OR_PATH)%", "%PATH(X)%", "%PATH(WQ:X)%", "%QUERY_PARAM%", "%QUERY_PARAM(a):3%", "%DOWNSTREAM_REMOTE_PORT(x)%", "%RESPONSE_FLAGS_LONG%"}
	for _, name := range values.Operators() {
		texts = append(texts, "a %"+name+"% b")
	}
	for _, text := range texts {
		_, theirs := format.New(text, "")
		if ours := values.Format(text); (ours == nil) != (theirs == nil) {
			t.Errorf("%q: pilot says %v, the proxy says %v", text, ours, theirs)
		}
	}
}
