// Package block turns HTTP/2 header blocks into heads and back: HPACK (golang.org/x/net/http2/hpack), the rules that make
// a head well formed, and the limits on its size. It must not know frames, streams or connections.
package block
