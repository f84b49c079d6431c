package inputs

import (
	"fmt"
	"strings"
	"testing"
)

// What cannot be read is named by its path, in words that need no knowledge of how it is read.
func TestUnreadableValuesAreLocated(t *testing.T) {
	for spec, want := range map[string]string{
		`{"host":"a","trafficPolicy":{"loadBalancer":{"simple":"ROUNDISH"}}}`:  `spec.trafficPolicy.loadBalancer.simple: "ROUNDISH" is none of UNSPECIFIED, LEAST_CONN, RANDOM, PASSTHROUGH, ROUND_ROBIN, LEAST_REQUEST`,
		`{"host":"a","trafficPolicy":{"outlierDetection":{"interval":"abc"}}}`: `spec.trafficPolicy.outlierDetection.interval: bad Duration: time: invalid duration "abc"`,
		`{"host":1}`:                   `spec.host: want text, not a number`,
		`{"subsets":{"name":"v1"}}`:    `spec.subsets: want a list, not an object`,
		`{"trafficPolicy":[]}`:         `spec.trafficPolicy: want an object, not a list`,
		`{"subsets":[{"name":"a"},2]}`: `spec.subsets[1]: want an object, not a number`,
		`[]`:                           `spec: want an object, not a list`,
		`{"host":1,"subsets":[{"name":"a"},{"name":"b","trafficPolicy":{"tls":{"mode":"NONE"}}}]}`: `spec.host: want text, not a number; ` +
			`spec.subsets[1].trafficPolicy.tls.mode: "NONE" is none of DISABLE, SIMPLE, MUTUAL, ISTIO_MUTUAL`,
	} {
		o, err := Decode(fmt.Appendf(nil, `{"apiVersion":"networking.istio.io/v1","kind":"DestinationRule","metadata":{"name":"a"},"spec":%s}`, spec))
		if err != nil {
			t.Fatalf("%s: %v", spec, err)
		}
		var got []string
		for _, p := range o.Issues() {
			got = append(got, p.Path+": "+p.Reason)
		}
		if text := strings.Join(got, "; "); text != want {
			t.Errorf("%s\n got %s\nwant %s", spec, text, want)
		}
	}
}

func TestFewOfManyAreNamed(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat("1,", 10_000), ",")
	o, err := Decode(fmt.Appendf(nil, `{"apiVersion":"networking.istio.io/v1","kind":"DestinationRule","metadata":{"name":"a"},"spec":{"exportTo":[%s]}}`, many))
	if err != nil || len(o.Issues()) != most {
		t.Errorf("%d issues, want %d (%v)", len(o.Issues()), most, err)
	}
}
