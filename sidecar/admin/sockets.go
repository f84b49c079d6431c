package admin

import (
	"encoding/hex"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// sockets writes the addresses that programs beside the proxy, and itself, listen on.
func sockets(w http.ResponseWriter, _ *http.Request) {
	all := []netip.AddrPort{}
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) { // without IPv6 there is no such file
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		all = append(all, listening(string(text))...)
	}
	slices.SortFunc(all, netip.AddrPort.Compare)
	writeJSON(w, slices.Compact(all))
}

// listening reads a table of sockets, as proc_net_tcp(5) has it: numbers in hex, addresses as words of 32 bits, their lowest byte first.
func listening(table string) []netip.AddrPort {
	const listens = "0A"
	var out []netip.AddrPort
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[3] != listens {
			continue
		}
		address, port, _ := strings.Cut(fields[1], ":")
		raw, err := hex.DecodeString(address)
		number, bad := strconv.ParseUint(port, 16, 16)
		if err != nil || bad != nil || len(raw)%4 != 0 {
			continue
		}
		for word := range slices.Chunk(raw, 4) {
			slices.Reverse(word)
		}
		if ip, ok := netip.AddrFromSlice(raw); ok {
			out = append(out, netip.AddrPortFrom(ip.Unmap(), uint16(number)))
		}
	}
	return out
}
