package admin

import (
	"encoding/json"
	"net"
	"net/netip"
	"slices"
	"testing"
)

const socketTable = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1 0 100 0 0 10 0
   1: 00000000:3A9E 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1337        0 1 1 0 100 0 0 10 0
   2: 4D00570A:1F91 0B00570A:C000 01 00000000:00000000 00:00000000 00000000  1000        0 1 1 0 100 0 0 10 0
   3: 0A:1 0B:2 0A
   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0
   1: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0
`

func TestListening(t *testing.T) {
	want := []string{"127.0.0.1:8080", "0.0.0.0:15006", "[::1]:80", "127.0.0.1:81"}
	var got []string
	for _, a := range listening(socketTable) {
		got = append(got, a.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSockets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	code, body := ask(Handler(options(&fake{})), "GET", "/sockets", "")
	var got []netip.AddrPort
	if err := json.Unmarshal([]byte(body), &got); code != 200 || err != nil {
		t.Fatalf("%d %s (%v)", code, body, err)
	}
	if own := netip.MustParseAddrPort(l.Addr().String()); !slices.Contains(got, own) {
		t.Errorf("%v lacks %s", got, own)
	}
}
