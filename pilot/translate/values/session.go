package values

import (
	"strings"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
)

// Labels of services whose clients stay with their endpoints, and of endpoints that take no new ones.
const (
	SessionLabel       = "istio.io/persistent-session"
	SessionHeaderLabel = "istio.io/persistent-session-header"
	DrainingLabel      = "istio.io/draining"
)

// Session reads by what clients of a service stay with their endpoints: a cookie, "name" or "name:/path", before a header. Nil: they do not.
func Session(log *report.Log, mesh *model.Mesh, labels map[string]string) *model.Session {
	if !mesh.Sessions {
		return nil
	}
	const token = "%q: the name of a cookie or a header expected"
	if cookie := labels[SessionLabel]; cookie != "" {
		name, path, said := strings.Cut(cookie, ":")
		if !said {
			path = "/"
		}
		if !sessionName(name) {
			log.Partialf("metadata.labels["+SessionLabel+"]", token, name)
			return nil
		}
		return &model.Session{Cookie: name, Path: path}
	}
	header := labels[SessionHeaderLabel]
	if header == "" {
		return nil
	}
	if !sessionName(header) {
		log.Partialf("metadata.labels["+SessionHeaderLabel+"]", token, header)
		return nil
	}
	return &model.Session{Header: strings.ToLower(header)}
}

func sessionName(name string) bool { return HeaderName(name) && !strings.HasPrefix(name, ":") }
