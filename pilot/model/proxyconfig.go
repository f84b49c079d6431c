package model

// ProxyConfig is how proxies run, as one object of that kind says, or the mesh's defaultConfig (without From). What it does not say stays as
// it was. It is read when a proxy is put into a pod.
type ProxyConfig struct {
	From        Name
	Selector    Selector          // nil: the whole namespace; in the root namespace the whole mesh
	Concurrency *int32            // threads; 0: one for each processor
	Environment map[string]string // further variables of the proxy's environment
	// Hold has applications start when their proxy is ready. It is always so where the proxy is a native sidecar.
	Hold *bool
	// TerminationDrain is how long connections may go on at the end, at most.
	TerminationDrain Duration
	// RestartDrain is how long they may once another process has taken over from the proxy, at most.
	RestartDrain Duration
}
