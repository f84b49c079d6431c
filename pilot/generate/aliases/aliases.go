// Package aliases follows Services of type ExternalName to what they stand for.
package aliases

import "github.com/heddle-mesh/heddle/pilot/model"

// Ends say, by the hosts of such Services, what each stands for in the end: it may stand for another of them. "": they go in circles, and nobody has an
// address by their names.
func Ends(services map[string][]*model.Service) map[string]string {
	out := map[string]string{}
	for host := range services {
		follow(services, host, out)
	}
	return out
}

// follow finds the end of a host, and with it those of all hosts on the way.
func follow(services map[string][]*model.Service, host string, ends map[string]string) {
	var way []string
	for svc := alias(services, host); svc != nil; svc = alias(services, host) {
		if end, known := ends[host]; known {
			host = end
			break
		}
		ends[host] = "" // for who comes here again on the same way
		way = append(way, host)
		host = svc.AliasOf
	}
	for _, h := range way {
		ends[h] = host
	}
}

func alias(services map[string][]*model.Service, host string) *model.Service {
	if of := services[host]; len(of) > 0 && of[0].Resolution == model.ResolveAlias {
		return of[0]
	}
	return nil
}
