package http2

import (
	"math"

	"golang.org/x/net/http2"
)

// settings applies the peer's settings and acknowledges them.
func (c *conn) settings(f *http2.SettingsFrame) error {
	if err := c.spend(10, settingsFlood); err != nil {
		return err
	}
	if f.IsAck() {
		return nil
	}
	more, err := c.apply(f)
	if more {
		c.side.grown()
	}
	return err
}

// apply is settings with the lock; more: the peer allows more streams than before.
func (c *conn) apply(f *http2.SettingsFrame) (more bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.peerStreams
	if err := f.ForeachSetting(c.setting); err != nil {
		return false, framing(err)
	}
	c.heard = true
	c.unblock()
	return c.peerStreams > before, c.answer(appendSettingsAck)
}

// setting applies one of them. The lock is held.
func (c *conn) setting(s http2.Setting) error {
	if err := s.Valid(); err != nil {
		return framing(err)
	}
	switch s.ID {
	case http2.SettingHeaderTableSize:
		c.enc.Resize(s.Val)
	case http2.SettingInitialWindowSize:
		delta := int64(s.Val) - c.sendStream
		c.sendStream = int64(s.Val)
		for _, st := range c.streams {
			if st.sendWindow += delta; st.sendWindow > math.MaxInt32 {
				return connError{http2.ErrCodeFlowControl, "stream window too large"}
			}
			st.wr.Broadcast()
		}
	case http2.SettingMaxFrameSize:
		c.sendFrame = int(min(s.Val, 64<<10))
	case http2.SettingMaxConcurrentStreams:
		c.peerStreams = s.Val
	case http2.SettingEnableConnectProtocol:
		c.peerConnect = s.Val == 1
	}
	return nil
}

// answer queues a reply to a control frame. A peer that asks and never reads is cut off. The lock is held.
func (c *conn) answer(frame func([]byte) []byte) error {
	if c.backlog() > maxBacklog {
		return flood(unreadReplies)
	}
	b := c.buf()
	*b = frame(*b)
	c.wake()
	return nil
}

func (c *conn) ping(f *http2.PingFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.tolerate(pingFlood); err != nil {
		return err
	}
	if f.IsAck() {
		c.got++
		c.side.pong(f.Data)
		return nil
	}
	return c.answer(func(b []byte) []byte { return appendPing(b, f.Data, true) })
}

func (c *conn) goAway(f *http2.GoAwayFrame) error {
	if err := c.spend(10, goAwayFlood); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.side.goneAway(f.LastStreamID)
	return nil
}

// expect notes the length that a body must have. The lock is held.
func (st *stream) expect(length int64, status int) {
	st.declared = length
	if status == 304 || st.bodiless {
		st.declared = -1
	}
}

// end finishes the connection after its reader has returned err.
func (c *conn) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ce, ok := err.(connError); ok {
		c.die(ce.code, ce.why, err)
		return
	}
	c.die(http2.ErrCodeNo, "", err)
	c.shut()
}
