package forward

import (
	"math/rand/v2"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// maxMirrored is how much of a request body a mirror keeps; longer ones are not mirrored.
const maxMirrored = 1 << 20

// mirrorTime bounds a mirrored exchange: nobody waits for it.
const mirrorTime = 30 * time.Second

// mirror is a copy of a request for another cluster. It is collected while the request is sent, and sent afterwards.
type mirror struct {
	p        *Proxy
	cluster  *upstream.Cluster
	conn     *exchange.Connection
	protocol exchange.Protocol
	head     exchange.Head
	body     []byte
	complete bool
	tooLong  bool
}

// mirror readies the copies that the route asks for.
func (r *run) mirror() {
	x := r.x
	for i := range r.route.Mirrors {
		c := &r.route.Mirrors[i]
		cluster := r.b.Live.Set.Get(c.Cluster)
		if cluster == nil || x.Upgrade != nil || rand.Uint32N(1_000_000) >= c.Fraction {
			continue
		}
		m := &mirror{p: r.p, cluster: cluster, conn: x.Conn, protocol: x.Protocol, complete: r.whole}
		m.head.CopyFrom(&x.Request)
		if r.leaves(cluster.Info()) {
			m.head.RemoveIf(meshField)
		}
		if c.Host != "" {
			m.head.Authority = m.head.Intern(c.Host)
		}
		if r.whole {
			m.body = append(m.body, r.body...)
		}
		r.mirrors = append(r.mirrors, m)
	}
}

// add collects a piece of a body that is still on its way.
func (m *mirror) add(piece exchange.View, end bool) {
	if m.tooLong = m.tooLong || len(m.body)+len(piece) > maxMirrored; m.tooLong {
		m.body = nil
		return
	}
	m.body, m.complete = append(m.body, piece...), end
}

// send sends the copy in a goroutine of its own and forgets the answer.
func (m *mirror) send() {
	if m.tooLong || !m.complete {
		return
	}
	go func() {
		defer func() {
			if v := recover(); v != nil {
				m.p.log.Error("recovered from a panic while mirroring", "panic", v)
				m.p.recorder.Panicked()
			}
		}()
		m.exchange()
	}()
}

func (m *mirror) exchange() {
	x := &exchange.Exchange{}
	x.Reset(m.conn)
	x.Protocol = m.protocol
	if !m.cluster.Begin() {
		return
	}
	defer m.cluster.Done()
	until := time.Now().Add(mirrorTime)
	h, o := m.cluster.Pick(m.conn.Destination, nil, 1)
	if o != exchange.OK {
		return
	}
	lease, o := h.Open(x, nil, until)
	if o != exchange.OK {
		return
	}
	defer func() { lease.Close(time.Time{}) }()
	s := lease.Stream
	s.SetDeadline(until)
	if m.write(s) != nil {
		return
	}
	end, err := false, error(nil)
	for x.Response.Status < 200 && err == nil {
		x.Response.Reset()
		end, err = s.ReadHead(&x.Response)
	}
	for err == nil && !end {
		_, end, err = s.ReadBody()
	}
}

func (m *mirror) write(s exchange.Stream) error {
	if err := s.WriteHead(&m.head, len(m.body) == 0); err != nil || len(m.body) == 0 {
		return err
	}
	return s.WriteBody(m.body, true)
}
