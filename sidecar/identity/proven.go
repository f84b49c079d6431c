package identity

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"maps"
	"sync"
	"time"

	"github.com/heddle-mesh/heddle/internal/spiffe"
)

// maxProven is how many chains are remembered; with more peers than that some are verified again.
const maxProven = 1024

// proven remembers which chains lead to an anchor, and whom they prove: a peer that connects again shows the same bytes, and to verify their
// signatures costs as much as the rest of the proof. What is remembered is as old as the anchors, which it belongs to. Only time can make it untrue.
type proven struct {
	mu    sync.Mutex
	peers map[proof]proved
	full  int // so many, and those whose time is over are forgotten
}

// fewProven is how many are remembered before anybody looks which of them are over: certificates are renewed, and the old ones are not shown again.
const fewProven = 64

// proof stands for the bytes of a chain and the usage that it was verified for.
type proof [sha256.Size]byte

// proved is what a proof has led to.
type proved struct {
	peer        spiffe.Identity
	first, last time.Time // when all certificates of the verified path are valid, both included
}

// proofOf hashes a chain. Lengths keep apart what is divided otherwise.
func proofOf(chain []*x509.Certificate, usage x509.ExtKeyUsage) (p proof) {
	h := sha256.New()
	var number [8]byte
	write := func(n int, data []byte) {
		binary.BigEndian.PutUint64(number[:], uint64(n))
		_, _ = h.Write(number[:])
		_, _ = h.Write(data)
	}
	write(int(usage), nil)
	for _, c := range chain {
		write(len(c.Raw), c.Raw)
	}
	h.Sum(p[:0])
	return p
}

// peer returns whom a chain proves at now, as far as is remembered.
func (r *proven) peer(p proof, now time.Time) (spiffe.Identity, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.peers[p]
	return known.peer, ok && !now.Before(known.first) && !now.After(known.last)
}

// remember notes whom a chain proves by a verified path of it.
func (r *proven) remember(p proof, now time.Time, peer spiffe.Identity, path []*x509.Certificate) {
	known := proved{peer: peer, first: path[0].NotBefore, last: path[0].NotAfter}
	for _, c := range path[1:] {
		if c.NotBefore.After(known.first) {
			known.first = c.NotBefore
		}
		if c.NotAfter.Before(known.last) {
			known.last = c.NotAfter
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.peers == nil {
		r.peers = map[proof]proved{}
	}
	if len(r.peers) >= max(r.full, fewProven) {
		maps.DeleteFunc(r.peers, func(_ proof, old proved) bool { return now.After(old.last) })
		r.full = min(2*len(r.peers), maxProven)
	}
	for old := range r.peers { // any of them
		if len(r.peers) < maxProven {
			break
		}
		delete(r.peers, old)
	}
	r.peers[p] = known
}
