package sniff

// Hello is what a ClientHello says.
type Hello struct {
	ServerName string
	ALPN       []string
}

const (
	recordHandshake = 22
	typeClientHello = 1
	extServerName   = 0
	extALPN         = 16
)

// TLS judges whether p begins a TLS connection, and reads its ClientHello, be it spread over several records.
func TLS(p []byte) (Hello, Verdict) {
	if len(p) > 0 && p[0] != recordHandshake || len(p) > 1 && p[1] != 3 {
		return Hello{}, No
	}
	if len(p) < 5 {
		return Hello{}, More
	}
	msg, verdict := handshake(p)
	if verdict != Yes {
		return Hello{}, verdict
	}
	h, ok := clientHello(msg)
	if !ok {
		return Hello{}, No
	}
	return h, Yes
}

// handshake gathers the first handshake message's body.
func handshake(p []byte) ([]byte, Verdict) {
	var msg []byte
	for {
		if len(p) < 5 {
			return nil, More
		}
		n := int(p[3])<<8 | int(p[4])
		if p[0] != recordHandshake || p[1] != 3 || n == 0 || n > 16<<10 {
			return nil, No
		}
		part := p[5:min(len(p), 5+n)]
		if msg == nil {
			msg = part
		} else {
			msg = append(msg[:len(msg):len(msg)], part...)
		}
		if len(msg) > 0 && msg[0] != typeClientHello {
			return nil, No
		}
		if len(msg) >= 4 {
			want := 4 + (int(msg[1])<<16 | int(msg[2])<<8 | int(msg[3]))
			if want > MaxPeek-64 {
				return nil, No
			}
			if len(msg) >= want {
				return msg[4:want], Yes
			}
		}
		if len(p) < 5+n {
			return nil, More
		}
		p = p[5+n:]
	}
}

// reader takes length-prefixed fields off a message.
type reader struct {
	p  []byte
	ok bool
}

func (r *reader) take(n int) []byte {
	if !r.ok || n > len(r.p) {
		r.ok = false
		return nil
	}
	v := r.p[:n]
	r.p = r.p[n:]
	return v
}

// field takes a field whose length stands before it, in so many bytes.
func (r *reader) field(width int) []byte {
	n := 0
	for _, b := range r.take(width) {
		n = n<<8 | int(b)
	}
	return r.take(n)
}

func (r *reader) uint16() int {
	v := r.take(2)
	if v == nil {
		return 0
	}
	return int(v[0])<<8 | int(v[1])
}

func clientHello(p []byte) (Hello, bool) {
	var h Hello
	r := &reader{p, true}
	r.take(2 + 32) // version, random
	r.field(1)     // session
	r.field(2)     // cipher suites
	r.field(1)     // compression
	if !r.ok {
		return h, false
	}
	if len(r.p) == 0 {
		return h, true
	}
	exts := &reader{r.field(2), r.ok}
	for r.ok && exts.ok && len(exts.p) > 0 {
		kind, data := exts.uint16(), exts.field(2)
		switch kind {
		case extServerName:
			h.ServerName = serverName(data)
		case extALPN:
			h.ALPN = protocols(data)
		}
	}
	return h, r.ok && exts.ok
}

func serverName(p []byte) string {
	r := &reader{p, true}
	list := &reader{r.field(2), r.ok}
	for list.ok && len(list.p) > 0 {
		kind, name := list.take(1), list.field(2)
		if list.ok && kind[0] == 0 {
			return string(name)
		}
	}
	return ""
}

func protocols(p []byte) []string {
	r := &reader{p, true}
	list := &reader{r.field(2), r.ok}
	var out []string
	for list.ok && len(list.p) > 0 {
		if name := list.field(1); list.ok {
			out = append(out, string(name))
		}
	}
	return out
}
