package model

// MTLSMode is what an inbound port demands.
type MTLSMode uint8

// The modes of PeerAuthentication. MTLSUnset inherits.
const (
	MTLSUnset MTLSMode = iota
	MTLSDisable
	MTLSPermissive
	MTLSStrict
)

// PeerAuthentication says which clients a workload accepts. An object that was not fully understood is STRICT.
type PeerAuthentication struct {
	From     Name
	Selector Selector // nil: namespace-wide, or mesh-wide in the root namespace
	Mode     MTLSMode
	Ports    map[uint16]MTLSMode // by workload port
}

// Action of an authorization policy.
type Action uint8

// The actions.
const (
	Allow Action = iota
	Deny
)

// Authorization is an AuthorizationPolicy. One that was not fully understood keeps its place, closed: an ALLOW without
// rules counts and matches nobody; a DENY denies all that it still selects.
type Authorization struct {
	From     Name
	Selector Selector // nil: namespace-wide, or mesh-wide in the root namespace
	Action   Action
	Rules    []*Rule
}

// Rule is one entry: any From, any To and every When must match. Empty lists match everything.
type Rule struct {
	Index int // position in the object: part of the policy's name in logs
	From  []*RuleSource
	To    []*RuleOperation
	When  []*RuleCondition
}

// Values is a list of alternatives and its "not" twin.
type Values struct{ Any, None []StringMatch }

// IsZero reports whether nothing was said.
func (v Values) IsZero() bool { return len(v.Any) == 0 && len(v.None) == 0 }

// CIDRs is a list of address blocks and its "not" twin.
type CIDRs struct{ Any, None []string }

// RuleSource is from.source. Within a field values are alternatives; fields are all needed.
type RuleSource struct {
	Principals      Values // without spiffe://
	Namespaces      Values
	ServiceAccounts Values // namespace/account
	TrustDomains    Values
	IPBlocks        CIDRs // the peer's address
	RemoteIPBlocks  CIDRs // after X-Forwarded-For
}

// RuleOperation is to.operation. Hosts, Methods and Paths need HTTP.
type RuleOperation struct {
	Hosts, Methods, Paths Values
	Ports, NotPorts       []uint16
}

// RuleCondition is one "when" entry.
type RuleCondition struct {
	Key      ConditionKey
	Header   string // for ConditionHeader, lower case
	Values   Values
	CIDRs    CIDRs    // for the address keys
	Ports    []uint16 // for ConditionDestinationPort
	NotPorts []uint16
}

// ConditionKey is what a condition looks at.
type ConditionKey uint8

// The keys of conditions.
const (
	ConditionHeader ConditionKey = iota
	ConditionSourceIP
	ConditionRemoteIP
	ConditionNamespace
	ConditionServiceAccount
	ConditionTrustDomain
	ConditionPrincipal
	ConditionDestinationIP
	ConditionDestinationPort
	ConditionSNI
	// ConditionMetadata looks at what filters found out. None that the proxies have says anything there: in an ALLOW rule it holds for nobody, and a
	// DENY rule does without it.
	ConditionMetadata
)
