package generate

import "github.com/heddle-mesh/heddle/pilot/model"

// Edge is what a gateway's listeners depend on.
type Edge struct {
	Mesh      *model.Mesh
	Class     Class
	Self      Self
	Namespace string
	Servers   *List[BoundServer]
	Policies  *List[*model.Authorization]
}

// BoundServer is a server of a Gateway that selects the workload, on the port where the workload listens.
type BoundServer struct {
	Gateway *model.Gateway
	Server  *model.Server
	Port    uint16
}

// EdgeListener placeholder until the next file is written.
type EdgeListener struct{ Port uint16 }

func (ix *Index) servers(w *model.Workload) []BoundServer { return nil }

func GenerateEdge(ix *Index, o Outbound, e Edge, m *Memo) *Set { return newSet().finish() }
