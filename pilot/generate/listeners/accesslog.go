package listeners

import (
	"encoding/json"
	"strings"

	accesslog "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	fileaccess "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	cel "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/generate/observe"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Names of extensions.
const (
	fileLog   = "envoy.access_loggers.file"
	celFilter = "envoy.access_loggers.extension_filters.cel"
)

// accessLogFormat is the format that users of Istio parse.
const accessLogFormat = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ` +
	`%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% ` +
	`%DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" ` +
	`"%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% ` +
	`%DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%` + "\n"

// accessLogFields are the fields of the same log as JSON.
func accessLogFields() map[string]string {
	return map[string]string{
		"start_time": "%START_TIME%", "method": "%REQ(:METHOD)%", "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "protocol": "%PROTOCOL%",
		"response_code": "%RESPONSE_CODE%", "response_flags": "%RESPONSE_FLAGS%", "response_code_details": "%RESPONSE_CODE_DETAILS%",
		"connection_termination_details":    "%CONNECTION_TERMINATION_DETAILS%",
		"upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
		"bytes_received":                    "%BYTES_RECEIVED%", "bytes_sent": "%BYTES_SENT%", "duration": "%DURATION%",
		"upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%", "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
		"user_agent": "%REQ(USER-AGENT)%", "request_id": "%REQ(X-REQUEST-ID)%", "authority": "%REQ(:AUTHORITY)%",
		"upstream_host": "%UPSTREAM_HOST%", "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
		"upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%", "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
		"downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%", "requested_server_name": "%REQUESTED_SERVER_NAME%",
		"route_name": "%ROUTE_NAME%",
	}
}

// listenerLog is the log of connections that no chain serves.
func listenerLog(mesh *model.Mesh, reports observe.Side) []*accesslog.AccessLog {
	if mesh.ListenerLogOff {
		return nil
	}
	return accessLogs(reports.Logs)
}

// accessLogs says where and how to log.
func accessLogs(logs []model.AccessLog) []*accesslog.AccessLog {
	var out []*accesslog.AccessLog
	for _, a := range logs {
		out = append(out, accessLog(a))
	}
	return out
}

func accessLog(a model.AccessLog) *accesslog.AccessLog {
	format := &core.SubstitutionFormatString{}
	switch {
	case a.JSON:
		format.Format = &core.SubstitutionFormatString_JsonFormat{JsonFormat: jsonFormat(a.Format)}
	case a.Format != "":
		format.Format = textFormat(strings.TrimSuffix(a.Format, "\n") + "\n")
	default:
		format.Format = textFormat(accessLogFormat)
	}
	return &accesslog.AccessLog{Name: fileLog, Filter: lineFilter(a.Filter), ConfigType: &accesslog.AccessLog_TypedConfig{TypedConfig: message.Any(&fileaccess.FileAccessLog{
		Path: a.File, AccessLogFormat: &fileaccess.FileAccessLog_LogFormat{LogFormat: format},
	})}}
}

// lineFilter says by an expression which requests have a line.
func lineFilter(expression string) *accesslog.AccessLogFilter {
	if expression == "" {
		return nil
	}
	return &accesslog.AccessLogFilter{FilterSpecifier: &accesslog.AccessLogFilter_ExtensionFilter{ExtensionFilter: &accesslog.ExtensionFilter{
		Name: celFilter, ConfigType: &accesslog.ExtensionFilter_TypedConfig{TypedConfig: message.Any(&cel.ExpressionFilter{Expression: expression})},
	}}}
}

func textFormat(s string) *core.SubstitutionFormatString_TextFormatSource {
	return &core.SubstitutionFormatString_TextFormatSource{TextFormatSource: &core.DataSource{Specifier: &core.DataSource_InlineString{InlineString: s}}}
}

// jsonFormat reads the user's object of field to format; one that cannot be read is as none.
func jsonFormat(custom string) *structpb.Struct {
	fields := map[string]any{}
	if custom != "" && json.Unmarshal([]byte(custom), &fields) == nil {
		if s, err := structpb.NewStruct(fields); err == nil {
			return s
		}
	}
	return message.Struct(accessLogFields())
}
