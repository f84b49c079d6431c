package telemetry

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/format"
)

// DefaultFormat is the text format of access logs where the user gives none: Istio's, field by field, since people parse it.
const DefaultFormat = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ` +
	`%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ` +
	`%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" ` +
	`%UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%` + "\n"

const (
	flushEvery = 200 * time.Millisecond
	maxPending = 1 << 20 // bytes waiting to be written; beyond it lines are dropped and counted
)

// AccessLogs writes access logs: lines are made by the request's goroutine and written by Run.
type AccessLogs struct {
	out      io.Writer
	compiled sync.Map // *exchange.AccessLog -> *accessFormat
	dropped  atomic.Uint64
	lines    sync.Pool // *[]byte

	mu      sync.Mutex
	pending []byte
}

// NewAccessLogs returns logs that go to out, whatever path their setting names: the path of a proxy in a container is its
// standard output.
func NewAccessLogs(out io.Writer) *AccessLogs {
	return &AccessLogs{out: out, lines: sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}}
}

// Run writes until ctx ends, and then what is left.
func (a *AccessLogs) Run(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	var buf []byte
	for {
		select {
		case <-tick.C:
			buf = a.flush(buf)
		case <-ctx.Done():
			a.flush(buf)
			return nil
		}
	}
}

// flush writes what is pending and returns the buffer to be filled next time.
func (a *AccessLogs) flush(empty []byte) []byte {
	a.mu.Lock()
	full := a.pending
	a.pending = empty[:0]
	a.mu.Unlock()
	if len(full) > 0 {
		if _, err := a.out.Write(full); err != nil {
			a.dropped.Add(1)
		}
	}
	return full
}

// Dropped returns how many lines (or, where writing failed, batches) were lost.
func (a *AccessLogs) Dropped() uint64 { return a.dropped.Load() }

func (a *AccessLogs) log(x *exchange.Exchange) {
	line := a.lines.Get().(*[]byte)
	for _, setting := range x.Conn.Via.AccessLog {
		if f := a.format(setting); f != nil && f.filter.wants(x) {
			*line = f.append((*line)[:0], x)
			a.add(*line)
		}
	}
	a.lines.Put(line)
}

func (a *AccessLogs) add(line []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.pending)+len(line) > maxPending {
		a.dropped.Add(1)
		return
	}
	a.pending = append(a.pending, line...)
}

// format returns the compiled setting; nil where it does not compile, which CheckAccessLog had refused.
func (a *AccessLogs) format(setting *exchange.AccessLog) *accessFormat {
	if f, ok := a.compiled.Load(setting); ok {
		return f.(*accessFormat)
	}
	f, err := compileAccessLog(setting)
	if err != nil {
		f = nil
	}
	a.compiled.Store(setting, f)
	return f
}

// CheckAccessLog says why a setting would not compile.
func CheckAccessLog(setting *exchange.AccessLog) error {
	_, err := compileAccessLog(setting)
	return err
}

// accessFormat is a compiled setting: a text, or the members of a JSON object.
type accessFormat struct {
	text   *format.Format
	json   []member
	filter *lineFilter
}

type member struct {
	name  string // with quotes and colon
	value *format.Format
}

func compileAccessLog(setting *exchange.AccessLog) (*accessFormat, error) {
	filter, err := newLineFilter(setting.Filter)
	if err != nil {
		return nil, err
	}
	out := &accessFormat{filter: filter}
	if len(setting.JSON) == 0 {
		text := setting.Text
		if text == "" {
			text = DefaultFormat
		}
		if out.text, err = format.New(text, "-"); err != nil {
			return nil, fmt.Errorf("text format: %w", err)
		}
		return out, nil
	}
	for _, kv := range setting.JSON {
		f, err := format.NewJSON(kv[1])
		if err != nil {
			return nil, fmt.Errorf("json format, key %q: %w", kv[0], err)
		}
		out.json = append(out.json, member{strconv.Quote(kv[0]) + ":", f})
	}
	return out, nil
}

func (f *accessFormat) append(dst []byte, x *exchange.Exchange) []byte {
	if f.text != nil {
		dst = f.text.Append(dst, x)
		body := dst
		if n := len(dst); n > 0 && dst[n-1] == '\n' {
			body = dst[:n-1]
		}
		return append(escapeControls(body), '\n')
	}
	dst = append(dst, '{')
	for i := range f.json {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, f.json[i].name...)
		dst = appendJSON(dst, f.json[i].value, x)
	}
	return append(dst, '}', '\n')
}

// appendJSON appends a member's value: a number where the format is one numeric operator, null where there is no value.
func appendJSON(dst []byte, f *format.Format, x *exchange.Exchange) []byte {
	var scratch [256]byte
	v := f.Append(scratch[:0], x)
	switch {
	case len(v) == 0 && !f.Static():
		return append(dst, "null"...)
	case f.Number():
		return append(dst, v...)
	}
	return appendQuoted(dst, v)
}

const hexDigits = "0123456789abcdef"

// appendQuoted appends v as a JSON string; bytes that are not UTF-8 become U+FFFD when read, as JSON demands.
func appendQuoted(dst, v []byte) []byte {
	dst = append(dst, '"')
	for _, c := range string(v) {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', byte(c))
		case control(c):
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, string(c)...)
		}
	}
	return append(dst, '"')
}

// control says whether c is a control character: C0, DEL or C1.
func control(c rune) bool { return c < 0x20 || 0x7f <= c && c < 0xa0 }

// escapeControls replaces the bytes of control characters, and those that are not UTF-8, by \xNN, so that no header can forge a line or
// drive a terminal.
func escapeControls(line []byte) []byte {
	clean := true
	for _, c := range line {
		if c < 0x20 || c >= 0x7f {
			clean = false
			break
		}
	}
	if clean {
		return line
	}
	out := make([]byte, 0, len(line)+16)
	for len(line) > 0 {
		c, n := utf8.DecodeRune(line)
		if control(c) || c == utf8.RuneError && n == 1 {
			for _, b := range line[:n] {
				out = append(out, '\\', 'x', hexDigits[b>>4], hexDigits[b&15])
			}
		} else {
			out = append(out, line[:n]...)
		}
		line = line[n:]
	}
	return out
}
