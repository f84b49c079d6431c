// Package dns answers the pod's DNS questions: the mesh's own names (package names) itself, everything else as the pod's servers say,
// whose answers it remembers as long as they last. It changes nothing in what it forwards but identifiers and, where an answer is
// remembered, times. It never walks a search path, though it knows the mesh's own names with the path's first domain after them; it never follows
// an alias, and never asks the control plane.
package dns
