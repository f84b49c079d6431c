// Package explain says what becomes of one request, and why: every listener, filter chain, virtual host, route, rule, cluster, endpoint and
// policy that it meets, on the client's side and on the server's, and why each earlier rule did not apply. The packages that route decide;
// this one only asks them, and words what they answer. It sends nothing.
package explain

// Explanation is what becomes of a request.
type Explanation struct {
	Request string  `json:"request"`
	Client  string  `json:"client"`           // POD.NAMESPACE
	Lookup  string  `json:"lookup,omitempty"` // what the host's name means to the client
	Verdict Verdict `json:"verdict"`
	Hop     *Hop    `json:"hop,omitempty"` // where it meets the mesh first
}

// Verdict is how it ends.
type Verdict struct {
	Succeeds bool `json:"succeeds"`
	// Share of requests that fail: 0 to 1. Weights and endpoints may lead to different ends.
	Fails  float64 `json:"fails,omitempty"`
	Status int     `json:"status,omitempty"` // HTTP status that the client gets of a proxy; 0: the application's, or a closed connection
	Flag   string  `json:"flag,omitempty"`   // response flag, as in access logs; RBAC for what a policy refuses
	Where  string  `json:"where,omitempty"`  // which proxy refuses
	Reason string  `json:"reason"`
	Advice string  `json:"advice,omitempty"` // what to change
}

// Hop is a connection that comes to a pod or leaves it.
type Hop struct {
	Pod      string      `json:"pod,omitempty"`  // POD.NAMESPACE; "": outside the mesh
	Like     int         `json:"like,omitempty"` // how many more pods there are for which all of this holds, too
	Share    float64     `json:"share"`          // of the requests: 0 to 1
	Side     string      `json:"side"`           // client | server | gateway | application | outside
	Address  string      `json:"address,omitempty"`
	Listener string      `json:"listener,omitempty"`
	Demands  *Demand     `json:"demands,omitempty"`
	Identity string      `json:"identity,omitempty"` // the client's, verified; "": nobody's
	Chain    *Chain      `json:"chain,omitempty"`
	Policies []Judgement `json:"policies,omitempty"`
	Host     *Host       `json:"virtualHost,omitempty"`
	Rules    []Rule      `json:"rules,omitempty"`
	Route    *Route      `json:"route,omitempty"`
	Notes    []string    `json:"notes,omitempty"`
	Targets  []*Target   `json:"targets,omitempty"`
	End      *Verdict    `json:"end,omitempty"` // where it ends here
}

// Demand is what a port demands of its clients.
type Demand struct {
	Port uint16 `json:"port"`
	Mode string `json:"mode"`
	By   string `json:"by"`
}

// Chain is a filter chain.
type Chain struct {
	Name   string `json:"name"`
	Of     string `json:"of"`             // what it is for, in words
	Rule   string `json:"rule,omitempty"` // the user's, that it is made of
	Passed []Not  `json:"passed,omitempty"`
}

// Not is something that does not apply, and why.
type Not struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// Judgement is what policies of one action say.
type Judgement struct {
	Action  string   `json:"action"` // DENY | ALLOW
	Allowed bool     `json:"allowed"`
	By      string   `json:"by,omitempty"` // the rule that decides; "": none is met
	Asked   []Policy `json:"asked"`
}

// Policy is one rule of an AuthorizationPolicy.
type Policy struct {
	Rule string   `json:"rule"`
	Met  bool     `json:"met"`
	Why  []string `json:"why,omitempty"`
}

// Host is a virtual host.
type Host struct {
	Name string `json:"name"`
	// Consulted are the VirtualServices that name the host.
	RuledBy   string `json:"ruledBy,omitempty"`
	Consulted []Not  `json:"consulted,omitempty"`
}

// Rule is a route that was asked, or one that the proxy was not told of.
type Rule struct {
	Rule string `json:"rule"`
	Name string `json:"name,omitempty"`
	Met  bool   `json:"met"`
	Why  string `json:"why,omitempty"`
}

// Route is what is done with the request.
type Route struct {
	Name    string   `json:"name,omitempty"`
	Does    string   `json:"does"`
	Timeout string   `json:"timeout"`
	Retries string   `json:"retries"`
	Changes []string `json:"changes,omitempty"` // of path, host and headers
	Mirrors []string `json:"mirrors,omitempty"`
}

// Target is a cluster that requests go to.
type Target struct {
	Cluster   string     `json:"cluster"`
	Share     float64    `json:"share"`
	Service   string     `json:"service,omitempty"`
	Subset    string     `json:"subset,omitempty"`
	Rule      string     `json:"destinationRule,omitempty"`
	Balancer  string     `json:"balancer,omitempty"`
	Settings  []string   `json:"settings,omitempty"`
	Endpoints []Endpoint `json:"endpoints,omitempty"`
	Hops      []*Hop     `json:"hops,omitempty"`
	End       *Verdict   `json:"end,omitempty"`
}

// Endpoint is an address of a cluster.
type Endpoint struct {
	Address string  `json:"address"`
	Pod     string  `json:"pod,omitempty"`
	State   string  `json:"state"`
	TLS     string  `json:"tls"`
	Share   float64 `json:"share"` // of the cluster's requests
}
