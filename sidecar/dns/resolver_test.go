package dns

import (
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// TestLookupsTellHowLongTheyLast: the shortest of all that the answer is made of, as it is by now.
func TestLookupsTellHowLongTheyLast(t *testing.T) {
	l := newLab(t, example)
	r := l.server.Forwarder.Resolver()
	look := func() time.Duration {
		t.Helper()
		addrs, lasts, err := r.LookupLasting(t.Context(), "ip4", "www.example.com.")
		if err != nil || len(addrs) != 1 || addrs[0].String() != "192.0.2.1" {
			t.Fatalf("%v, %v", addrs, err)
		}
		return lasts
	}
	if got := look(); got != 10*time.Second {
		t.Errorf("it lasts %v", got)
	}
	l.pass(4 * time.Second)
	if got := look(); got != 6*time.Second {
		t.Errorf("it lasts %v when 4 s have passed", got)
	}
	if addrs, err := r.LookupNetIP(t.Context(), "ip4", "www.example.com."); err != nil || len(addrs) != 1 {
		t.Errorf("%v, %v", addrs, err)
	}
}

// TestAllWhoAskAtOnceAreTold: look-ups of one host at one time are one, and each of them learns how long the answer lasts.
func TestAllWhoAskAtOnceAreTold(t *testing.T) {
	open := make(chan struct{})
	l := newLab(t, func(q dnsmessage.Question) dnsmessage.Message {
		<-open
		return example(q)
	})
	r := l.server.Forwarder.Resolver()
	const askers = 3
	lasts := make(chan time.Duration, askers)
	for i := range askers {
		go func() {
			if i == 0 { // who does not want to know
				if _, err := r.LookupNetIP(t.Context(), "ip4", "www.example.com."); err != nil {
					t.Error(err)
				}
				lasts <- 10 * time.Second
				return
			}
			_, got, err := r.LookupLasting(t.Context(), "ip4", "www.example.com.")
			if err != nil {
				t.Error(err)
			}
			lasts <- got
		}()
	}
	asking := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		if told := r.asked[lookup{"ip4", "www.example.com."}]; told != nil {
			return told.askers
		}
		return 0
	}
	for until := time.Now().Add(30 * time.Second); asking() < askers && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
	close(open)
	for range askers {
		if got := <-lasts; got != 10*time.Second {
			t.Errorf("it lasts %v", got)
		}
	}
	if len(r.asked) != 0 {
		t.Errorf("it remembers %d look-ups", len(r.asked))
	}
}

// TestAnswersForThisTimeOnly: a TTL of zero says that an answer is not to be remembered, not that it is over at once: it is as if nobody had said.
func TestAnswersForThisTimeOnly(t *testing.T) {
	l := newLab(t, func(dnsmessage.Question) dnsmessage.Message {
		return dnsmessage.Message{Answers: []dnsmessage.Resource{a("www.example.com.", 60, "192.0.2.1"), a("www.example.com.", 0, "192.0.2.2")}}
	})
	addrs, lasts, err := l.server.Forwarder.Resolver().LookupLasting(t.Context(), "ip4", "www.example.com.")
	if err != nil || len(addrs) != 2 || lasts != 0 {
		t.Errorf("%v, it lasts %v, %v", addrs, lasts, err)
	}
}
