package main

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

func env(name string) string {
	return map[string]string{"POD_NAME": "heddled-0", "POD_NAMESPACE": "heddle-system"}[name]
}

func TestParse(t *testing.T) {
	c, err := parse([]string{"--proxy-image=r/p:1", "--cert-ttl=10s", `--proxy-resources={"limits":{"memory":"64Mi"}}`}, env)
	if err != nil {
		t.Fatal(err)
	}
	if c.podName != "heddled-0" || c.certTTL != 10*time.Second || !c.proxy.resources.Limits.Memory().Equal(resource.MustParse("64Mi")) {
		t.Errorf("got %+v", c)
	}
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	for want, args := range map[string][]string{
		"--proxy-image":       {},
		`--proxy-native "no"`: {"--proxy-image=x", "--proxy-native=no"},
		"--proxy-resources":   {"--proxy-image=x", "--proxy-resources={"},
		"--cert-ttl 48h":      {"--proxy-image=x", "--cert-ttl=48h"},
		`"stray"`:             {"--proxy-image=x", "stray"},
		"pull-policy":         {"--proxy-image=x", "--proxy-image-pull-policy=Sometimes"},
		"-unknown":            {"--unknown"},
	} {
		if _, err := parse(args, env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", args, err, want)
		}
	}
	if _, err := parse([]string{"--proxy-image=x"}, func(string) string { return "" }); err == nil || !strings.Contains(err.Error(), "POD_NAME") {
		t.Errorf("without a pod's name: %v", err)
	}
}
