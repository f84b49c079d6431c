package routes

import (
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	session "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/stateful_session/v3"
	cookie "github.com/envoyproxy/go-control-plane/envoy/extensions/http/stateful_session/cookie/v3"
	header "github.com/envoyproxy/go-control-plane/envoy/extensions/http/stateful_session/header/v3"
	httptype "github.com/envoyproxy/go-control-plane/envoy/type/http/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// session keeps clients with the endpoints of a target; nil: they do not stay, or the client is a program that does not know how.
func (b routeBuilder) session(s *model.Session) map[string]*anypb.Any {
	if s == nil || b.Class.Proxyless {
		return nil
	}
	name, state := "envoy.http.stateful_session.header", proto.Message(&header.HeaderBasedSessionState{Name: s.Header})
	if s.Cookie != "" {
		name, state = "envoy.http.stateful_session.cookie", &cookie.CookieBasedSessionState{Cookie: &httptype.Cookie{Name: s.Cookie, Path: s.Path}}
	}
	return map[string]*anypb.Any{message.FilterSession: message.Any(&session.StatefulSessionPerRoute{Override: &session.StatefulSessionPerRoute_StatefulSession{
		StatefulSession: &session.StatefulSession{SessionState: &core.TypedExtensionConfig{Name: name, TypedConfig: message.Any(state)}},
	}})}
}
