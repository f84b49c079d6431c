package redirect_test

import (
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heddle-mesh/heddle/injector/redirect"
	"github.com/heddle-mesh/heddle/internal/golden"
)

func parse(t *testing.T, args []string) (redirect.Spec, error) {
	t.Helper()
	spec := redirect.DefaultSpec()
	flags := flag.NewFlagSet("redirect", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	spec.Register(flags)
	return spec, flags.Parse(args)
}

func TestRules(t *testing.T) {
	golden.Run(t, "testdata", func(t *testing.T, c golden.Case) map[string]string {
		spec, err := parse(t, strings.Fields(c.Files["flags"]))
		if err != nil {
			t.Fatal(err)
		}
		config, err := spec.Config()
		if err != nil {
			return map[string]string{"error": err.Error()}
		}
		return map[string]string{"rules": redirect.Rules(config).String(), "args": strings.Join(spec.Args(), "\n")}
	})
}

func TestArgsSayTheSpec(t *testing.T) {
	for _, args := range [][]string{
		nil,
		{"--inbound-ports=80,443", "--exclude-interfaces=eth1"},
		{"--exclude-outbound-ports=22", "--outbound-cidrs=", "--exclude-outbound-cidrs=10.0.0.0/8,fd00::/8"},
		{"--dns=pod"},
	} {
		spec, err := parse(t, args)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parse(t, spec.Args())
		if err != nil || again != spec {
			t.Errorf("%v: read back as %+v, want %+v (%v)", args, again, spec, err)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	for _, c := range []struct{ why, arg, want string }{
		{"no port 0", "--inbound-ports=0", `reading inbound-ports: "0"`},
		{"no port above 65535", "--exclude-inbound-ports=70000", `reading exclude-inbound-ports: "70000"`},
		{"ranges are not ports", "--exclude-outbound-ports=80-90", `"80-90"`},
		{"names are not addresses", "--outbound-cidrs=example.com", `"example.com"`},
		{"all is not one of a list", "--outbound-cidrs=*,10.0.0.0/8", `"*"`},
		{"mapped addresses are ambiguous", "--exclude-outbound-cidrs=::ffff:10.0.0.0/104", "not an address range"},
		{"servers are addresses", "--dns=10.0.0.0/8", "reading dns: \"10.0.0.0/8\""},
		{"the pod's servers are somebody else's to tell", "--dns=pod", "reading dns"},
		{"interfaces have short names", "--exclude-interfaces=abcdefghijklmnopq", "not the name of a network interface"},
	} {
		spec, err := parse(t, []string{c.arg})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := spec.Config(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %s", c.why, err, c.want)
		}
	}
}

func TestHostBitsAreMasked(t *testing.T) {
	a, errA := redirect.Spec{OutboundCIDRs: "10.1.2.3/8"}.Config()
	b, errB := redirect.Spec{OutboundCIDRs: "10.0.0.0/8"}.Config()
	if errA != nil || errB != nil || redirect.Rules(a).String() != redirect.Rules(b).String() {
		t.Errorf("10.1.2.3/8 is not 10.0.0.0/8: %s", cmp.Diff(redirect.Rules(a).String(), redirect.Rules(b).String()))
	}
}

func FuzzSpec(f *testing.F) {
	f.Add("80,443", "10.0.0.0/8", "eth0")
	f.Add("*", "fd00::1", "")
	f.Add(" 1 ,", "::ffff:1.2.3.4/99", "a b")
	f.Fuzz(func(t *testing.T, ports, cidrs, interfaces string) {
		c, err := redirect.Spec{InboundPorts: ports, ExcludeOutboundCIDRs: cidrs, ExcludeInterfaces: interfaces}.Config()
		if err == nil && redirect.Rules(c).String() == "" {
			t.Error("no rules")
		}
	})
}
