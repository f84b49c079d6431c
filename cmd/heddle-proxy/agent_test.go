package main

import (
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
)

func TestAgent(t *testing.T) {
	s, err := readAgent(nil, environment(map[string]string{wire.EnvInstanceIPs: ""}))
	if err != nil || s.out != wire.AgentPath || s.tokenPath != wire.TokenPath || s.rootPath != wire.RootPath || s.ttl != 24*time.Hour {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = readAgent([]string{"--out=/certs", "--token", "/token", "--roots=/roots"}, environment(map[string]string{wire.EnvCAAddress: "ca:2", wire.EnvCertTTL: "1h"}))
	if err != nil || s.out != "/certs" || s.tokenPath != "/token" || s.rootPath != "/roots" || s.ca != "ca:2" || s.ttl != time.Hour ||
		s.identity.String() != "spiffe://cluster.local/ns/shop/sa/web" {
		t.Errorf("%+v, %v", s, err)
	}
	for why, args := range map[string][]string{"an unknown flag": {"--in=/x"}, "an argument": {"/certs"}} {
		if _, err := readAgent(args, environment(nil)); err == nil {
			t.Errorf("%s was taken", why)
		}
	}
	if _, err := readAgent(nil, environment(map[string]string{wire.EnvPodNamespace: ""})); err == nil {
		t.Error("an agent of no namespace")
	}
}
