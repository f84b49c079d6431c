package mirror

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHandlerTellsWhatItSaw(t *testing.T) {
	s := httptest.NewTLSServer(Handler("v1"))
	defer s.Close()
	r, err := http.NewRequest(http.MethodPost, s.URL+"/status/418?q=1", strings.NewReader("12345"))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "a.example"
	r.Header.Set("X-Probe", "yes")
	response, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var seen Seen
	if err := json.NewDecoder(response.Body).Decode(&seen); err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != 418 || seen.Name != "v1" || seen.Method != "POST" || seen.Path != "/status/418?q=1" || seen.Host != "a.example" ||
		seen.Body != 5 || seen.Headers["X-Probe"][0] != "yes" || seen.TLS == nil || !strings.HasPrefix(seen.Client, "127.0.0.1:") {
		t.Errorf("status %d, %+v", response.StatusCode, seen)
	}
}

func TestEcho(t *testing.T) {
	for name, want := range map[string]string{"": "hello\n", "v2": "v2 hello\n"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- Echo(l, name) }()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(c, "hello")
		if got, err := bufio.NewReader(c).ReadString('\n'); err != nil || got != want {
			t.Errorf("name %q: got %q, %v", name, got, err)
		}
		c.Close()
		l.Close()
		<-done
	}
}
