package report

// Code is the number under which Istio's analysis knows what an issue is about, so that people find what they look for; empty: it knows nothing of it.
// (https://istio.io/latest/docs/reference/config/analysis)
type Code string

// The codes that this version says.
const (
	NotFound              Code = "IST0101"
	NotInjected           Code = "IST0102"
	MissingProxy          Code = "IST0103"
	Invalid               Code = "IST0106"
	SharedMeshHost        Code = "IST0109"
	SharedSidecarLabels   Code = "IST0110"
	SharedSidecarDefault  Code = "IST0111"
	PortNeeded            Code = "IST0112"
	PortName              Code = "IST0118"
	TwoInjectionLabels    Code = "IST0123"
	UnreachableRule       Code = "IST0130"
	IneffectiveMatch      Code = "IST0131"
	HostNotAtGateway      Code = "IST0132"
	Doubtful              Code = "IST0133"
	SharedCertificate     Code = "IST0138"
	Localhost             Code = "IST0143"
	SharedGatewayHost     Code = "IST0145"
	AliasPortName         Code = "IST0150"
	InvalidCredential     Code = "IST0161"
	GatewayPortNotExposed Code = "IST0162"
	Ineffective           Code = "IST0167"
	EmptySubset           Code = "IST0173"
	UnknownRuleHost       Code = "IST0174"
)

// Message is Istio's name for what the code stands for.
func (c Code) Message() string {
	return map[Code]string{
		NotFound: "ReferencedResourceNotFound", NotInjected: "NamespaceNotInjected", MissingProxy: "PodMissingProxy", Invalid: "SchemaValidationError",
		SharedMeshHost: "ConflictingMeshGatewayVirtualServiceHosts", SharedSidecarLabels: "ConflictingSidecarWorkloadSelectors",
		SharedSidecarDefault: "MultipleSidecarsWithoutWorkloadSelectors", PortNeeded: "VirtualServiceDestinationPortSelectorRequired",
		PortName: "PortNameIsNotUnderNamingConvention", TwoInjectionLabels: "NamespaceMultipleInjectionLabels",
		UnreachableRule: "VirtualServiceUnreachableRule", IneffectiveMatch: "VirtualServiceIneffectiveMatch",
		HostNotAtGateway: "VirtualServiceHostNotFoundInGateway", Doubtful: "SchemaWarning", SharedCertificate: "GatewayDuplicateCertificate",
		Localhost: "LocalhostListener", SharedGatewayHost: "ConflictingGateways", AliasPortName: "ExternalNameServiceTypeInvalidPortName",
		InvalidCredential: "InvalidGatewayCredential", GatewayPortNotExposed: "GatewayPortNotDefinedOnService", Ineffective: "IneffectivePolicy",
		EmptySubset: "DestinationRuleSubsetNotSelectPods", UnknownRuleHost: "UnknownDestinationRuleHost",
	}[c]
}

// Known is the issue's code: the one that it was given or, without one, that of its topic and severity.
func (i Issue) Known() Code {
	switch {
	case i.Code != "":
		return i.Code
	case i.Topic == Reference:
		return NotFound
	case i.Topic == Conflict:
		return ""
	case i.Severity == Error:
		return Invalid
	}
	return Doubtful
}

// As gives the last issue a code.
func (l *Log) As(c Code) { l.Issues[len(l.Issues)-1].Code = c }
