// Package http2 speaks HTTP/2 on both sides: Server serves a client's streams as exchanges, Codec makes an upstream
// connection a transport of many exchanges. It owns the stream loop, flow control, header lists, draining and the bounds
// that keep a hostile peer cheap; frames are read and header blocks coded by golang.org/x/net/http2. It must not route,
// judge, retry or record (forward does), dial (upstream does), or import net/http.
package http2
