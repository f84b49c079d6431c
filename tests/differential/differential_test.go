package differential

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// question is one case: bytes for a listener, and what the application does.
type question struct {
	name    string
	to      string // listener; "edge" if empty
	send    string // HTTP/1's bytes, @ID@ for the case's id
	stream  *stream
	alpn    string // what the client offers where the listener has TLS
	replies []reply
	held    []hold
	answers int // final ones that the client waits for; 1 if 0
	reach   int // requests that will reach the application, some after the answer
}

// hold is a request that is under way, and stays so, when a case's own comes.
type hold struct {
	path    string // of full.test
	replies []reply
	reach   int // of its requests reach the application
}

// fewest is how many cases there are at least.
const fewest = 500

// atOnce is how many cases run at the same time.
const atOnce = 16

// TestEnvoyAndHeddle sends every case through both proxies and fails on differences that are not listed, and on listed ones that it does not find.
func TestEnvoyAndHeddle(t *testing.T) {
	l := newLab(t)
	all := questions()
	if len(all) < fewest {
		t.Errorf("%d cases are fewer than %d", len(all), fewest)
	}
	list, seen, complete := loadAllowed(t), map[string]bool{}, true
	found := l.ask(all, list)
	for i, q := range all {
		if seen[q.name] {
			t.Errorf("there are two cases %q", q.name)
		}
		seen[q.name] = true
		complete = t.Run(q.name, func(t *testing.T) { judge(t, list, q.name, found[i]) }) && complete
	}
	for _, refusal := range l.plane.refusals() {
		t.Errorf("refused: %s", refusal)
	}
	for _, stray := range l.app.strays {
		t.Errorf("the application got what belongs to no case: %s", stray)
	}
	if complete {
		for _, u := range list.unused() {
			t.Errorf("nothing differs any more, take it off the list: %s", u)
		}
	}
}

func judge(t *testing.T, list *allowed, name string, by map[string]outcome) {
	missing := false
	for _, d := range compare(name, by["envoy"], by["heddle"]) {
		if !list.covers(d) {
			missing = true
			t.Errorf("%s\n    envoy:  %q\n    heddle: %q", d.What, d.Envoy, d.Heddle)
		}
	}
	if missing {
		t.Logf("envoy: %s\n%sheddle: %s\n%s", by["envoy"].summary, by["envoy"], by["heddle"].summary, by["heddle"])
	}
}

// turns is how often a case is asked whose outcomes differ: what does not come again was the machine's doing.
const turns = 3

// ask runs all cases and returns their outcomes by proxy.
func (l *lab) ask(all []question, list *allowed) []map[string]outcome {
	out := make([]map[string]outcome, len(all))
	var judging sync.Mutex
	alike := func(q question, by map[string]outcome) bool {
		judging.Lock()
		defer judging.Unlock()
		return !slices.ContainsFunc(compare(q.name, by["envoy"], by["heddle"]), func(d difference) bool { return !list.covers(d) })
	}
	var running sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i, q := range all {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			for turn := range turns {
				out[i] = map[string]outcome{}
				for _, proxy := range proxies {
					out[i][proxy] = l.one(proxy, turn*len(all)+i, q)
				}
				if alike(q, out[i]) {
					return
				}
			}
		})
	}
	running.Wait()
	return out
}

// one sends a case through one proxy.
func (l *lab) one(proxy string, n int, q question) outcome {
	id := fmt.Sprintf("%sid%04d", proxy[:1], n)
	l.app.script(id, q.replies)
	to := q.to
	if to == "" {
		to = "edge"
	}
	var protocols []string
	if q.alpn != "" {
		protocols = []string{q.alpn}
	}
	nc, err := l.dial(proxy, to, protocols...)
	if err != nil {
		return outcome{summary: err.Error(), facts: map[string]string{}}
	}
	defer nc.Close()
	var answers []answer
	var fate string
	for i, h := range q.held {
		defer l.hold(proxy, fmt.Sprintf("%s%d", id, i), h)()
	}
	if q.stream != nil {
		answers, fate = callHTTP2(nc, q.stream.named(id))
	} else {
		answers, fate = call(nc, strings.ReplaceAll(q.send, "@ID@", id), max(q.answers, 1))
	}
	for until := time.Now().Add(patience); !l.app.settled(id, q.reach) && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
	return outcomeOf(answers, fate, l.app.seen(id))
}
