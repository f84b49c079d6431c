package model

// IngressSettings are the settings of the mesh about Kubernetes' Ingresses.
type IngressSettings struct {
	Off       bool     // no Ingress counts
	Classless bool     // Ingresses that name no class count
	Class     string   // that the annotation kubernetes.io/ingress.class names
	Selector  Selector // of the gateways that serve Ingresses
	Service   string   // whose addresses are theirs: name or namespace/name; "": the oldest that has the Selector's labels
}

// Ingress is what Ingresses come to, beside routes and servers.
type Ingress struct {
	Classes IngressClasses
	Paths   map[IngressPath]Name      // whose each path is
	Names   map[string]IngressTLSName // whose certificate clients of a host are shown
}

// IngressClasses say which Ingresses are the mesh's.
type IngressClasses struct {
	Mine    map[string]bool   // IngressClasses of ours that are in force
	Refused map[string]string // ours that are not, with the reason
	// Default is whether an Ingress without a class is of one of Mine.
	Default bool
}

// IngressPath is one path of a host; "*" is every host.
type IngressPath struct {
	Host string
	Path StringMatch
}

// IngressTLSName is whose a host's certificate is.
type IngressTLSName struct {
	Owner  Name
	Secret string // namespace/name
}
