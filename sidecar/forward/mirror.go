package forward

import (
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
	"github.com/heddle-mesh/heddle/sidecar/upstream/outlier"
)

// maxMirrored is how much of a request body a mirror keeps; longer ones are not mirrored.
const maxMirrored = 1 << 20

// mirrorTime bounds a mirrored exchange, however long a timeout its route has: nobody waits for it.
const mirrorTime = 30 * time.Second

// maxMirrors is how many copies may be under way at a time, which may keep bodyMemory: a cluster that takes copies and does not answer must cost no more
// than that. What goes beyond is not mirrored.
const maxMirrors = 1000

// mirrors counts the copies that are under way.
type mirrors struct {
	open atomic.Int64
	bodies
}

func (m *mirrors) begin() bool {
	if m.open.Add(1) > maxMirrors {
		m.open.Add(-1)
		return false
	}
	return true
}

// mirror is a copy of a request for another cluster. It is collected while the request is sent, and sent afterwards.
type mirror struct {
	p        *Proxy
	cluster  *upstream.Cluster
	conn     *exchange.Connection
	protocol exchange.Protocol
	grpc     bool
	timeout  time.Duration // of the request; 0: none
	key      upstream.Key  // what the cluster chooses by
	head     exchange.Head
	body     []byte
	complete bool
	tooLong  bool
}

// mirror readies the copies that the route asks for, of a request for a host.
func (r *run) mirror(asked exchange.View) {
	x := r.x
	for i := range r.route.Mirrors {
		c := &r.route.Mirrors[i]
		cluster := r.b.Live.Set.Get(c.Cluster)
		if cluster == nil || x.Upgrade != nil || rand.Uint32N(1_000_000) >= c.Fraction || !r.p.mirrors.begin() {
			continue
		}
		m := &mirror{p: r.p, cluster: cluster, conn: x.Conn, protocol: x.Protocol, grpc: x.GRPC, timeout: r.timeout}
		if cluster.Named() {
			m.key.Name = string(asked)
		}
		m.head.CopyFrom(&x.Request)
		if r.leaves(cluster.Info()) {
			m.head.RemoveIf(meshField)
		}
		if c.Host != "" {
			m.head.Authority = m.head.Intern(c.Host)
		} else if c.Shadow {
			m.head.Authority = m.head.Intern(shadow(string(m.head.Authority)))
		}
		if r.whole {
			m.add(r.body, true)
		}
		r.mirrors = append(r.mirrors, m)
	}
}

// shadow marks an authority as a copy's.
func shadow(authority string) string {
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		return authority[:i] + "-shadow" + authority[i:]
	}
	return authority + "-shadow"
}

// add collects a piece of a body that is still on its way.
func (m *mirror) add(piece exchange.View, end bool) {
	if m.tooLong = m.tooLong || len(m.body)+len(piece) > maxMirrored || !m.p.mirrors.keep(len(piece)); m.tooLong {
		m.drop()
		return
	}
	m.body, m.complete = append(m.body, piece...), end
}

// drop gives the body's memory back.
func (m *mirror) drop() {
	m.p.mirrors.drop(len(m.body))
	m.body = nil
}

// done ends the copy.
func (m *mirror) done() {
	m.drop()
	m.p.mirrors.open.Add(-1)
}

// send sends the copy in a goroutine of its own and forgets the answer.
func (m *mirror) send() {
	if m.tooLong || !m.complete {
		m.done()
		return
	}
	go func() {
		defer m.done()
		defer func() {
			if v := recover(); v != nil {
				m.p.log.Error("recovered from a panic while mirroring", "panic", v)
				m.p.recorder.Panicked()
			}
		}()
		m.exchange()
	}()
}

// exchange is the copy's only try. As in Envoy, it feeds outlier detection like any other request.
func (m *mirror) exchange() {
	x := &exchange.Exchange{}
	x.Reset(m.conn)
	x.Protocol, x.GRPC = m.protocol, m.grpc
	m.cluster.Begin()
	begun := time.Now()
	until, due := begun.Add(mirrorTime), time.Time{}
	if m.timeout > 0 {
		due = begun.Add(m.timeout)
	}
	h, o := m.cluster.PickFor(m.key, m.conn.Onward(), nil, 1)
	if o != exchange.OK {
		return
	}
	lease, o := h.Open(x, nil, first(until, due))
	if o != exchange.OK {
		if o == exchange.ConnectFailure || o == exchange.ConnectTimeout {
			h.Report(outlier.Local)
		}
		return
	}
	defer func() { lease.Close(time.Time{}) }()
	if most := lease.Host.MaxStream(); most > 0 {
		until = first(until, time.Now().Add(most))
	}
	lease.Stream.SetDeadline(first(until, due))
	m.carry(x, lease.Host, lease.Stream, first(until, due) == due)
}

// carry sends the copy and reads the answer; late: that it is too late is its host's fault.
func (m *mirror) carry(x *exchange.Exchange, h *upstream.Host, s exchange.Stream, late bool) {
	h.Report(outlier.Connected)
	end, err := m.ask(x, s)
	if err == nil {
		h.Report(result(x, h.Errors()))
	} else if blamed(err) || late && err == exchange.ErrTimeout {
		h.Report(outlier.Local)
	}
	for err == nil && !end {
		if _, end, err = s.ReadBody(); blamed(err) {
			h.Report(outlier.Local)
		}
	}
}

// ask sends the copy and waits for the answer's head.
func (m *mirror) ask(x *exchange.Exchange, s exchange.Stream) (end bool, err error) {
	if err = m.write(s); err != nil && !isReset(err) {
		return false, err
	} // after a reset the answer may still be there to be read
	for err = nil; x.Response.Status < 200 && err == nil; {
		x.Response.Reset()
		end, err = s.ReadHead(&x.Response)
	}
	return end, err
}

// blamed says whether the error of a copy's stream is its host's, as those of tries are; of time it says nothing.
func blamed(err error) bool {
	return err != nil && err != exchange.ErrUnsent && err != exchange.ErrUnfit && err != exchange.ErrTimeout
}

func (m *mirror) write(s exchange.Stream) error {
	if err := s.WriteHead(&m.head, len(m.body) == 0); err != nil || len(m.body) == 0 {
		return err
	}
	return s.WriteBody(m.body, true)
}
