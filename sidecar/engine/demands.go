package engine

import "net/netip"

// demands implements config.Demands: it puts questions to the compiler, which knows what is wanted, and has the client ask them.
type demands struct{ e *Engine }

// Host implements config.Demands.
func (d demands) Host(table, host string) bool {
	d.e.sink.mu.Lock()
	taken := d.e.sink.compiler.AskHost(table, host)
	d.e.sink.mu.Unlock()
	d.e.client.Ask()
	return taken
}

// Address implements config.Demands.
func (d demands) Address(a netip.AddrPort) bool {
	d.e.sink.mu.Lock()
	taken := d.e.sink.compiler.AskAddress(a)
	d.e.sink.mu.Unlock()
	d.e.client.Ask()
	return taken
}
