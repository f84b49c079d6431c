// Package reports reads from xDS messages what a listener reports of its traffic: access logs and tracing. Like compile, for which it is, it is pure, and
// says which field it will not honour.
package reports

import (
	"fmt"
	"maps"
	"slices"

	accesslog "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	file "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	cel "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/heddle-mesh/heddle/internal/condition"
	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/telemetry"
)

// AccessLogs reads where and how to log. field is the path of in. Where ignored is not nil, entries that are not honoured are left out and counted there,
// also those whose format has an operator that is unknown; else they are errors.
func AccessLogs(field string, in []*accesslog.AccessLog, ignored *int) ([]*exchange.AccessLog, error) {
	var out []*exchange.AccessLog
	for i, entry := range in {
		log, err := accessLog(fmt.Sprintf("%s[%d]", field, i), entry)
		if err == nil && ignored != nil {
			err = telemetry.CheckAccessLog(log)
		}
		switch {
		case err == nil:
			out = append(out, log)
		case ignored != nil:
			*ignored++
		default:
			return nil, err
		}
	}
	return out, nil
}

func accessLog(field string, in *accesslog.AccessLog) (*exchange.AccessLog, error) {
	at, f := field+".typed_config", &file.FileAccessLog{}
	if err := in.GetTypedConfig().UnmarshalTo(f); err != nil {
		return nil, values.Wrong(at, "%w", err)
	}
	log := &exchange.AccessLog{Path: f.GetPath()}
	switch {
	case log.Path == "":
		return nil, values.Wrong(at+".path", "it is empty")
	case f.GetLogFormat().GetTextFormatSource() != nil:
		log.Text = f.GetLogFormat().GetTextFormatSource().GetInlineString()
	case f.GetLogFormat().GetJsonFormat() != nil:
		fields := f.GetLogFormat().GetJsonFormat().GetFields()
		for _, key := range slices.Sorted(maps.Keys(fields)) {
			text, ok := fields[key].GetKind().(*structpb.Value_StringValue)
			if !ok {
				return nil, values.Wrong(at+".log_format.json_format["+key+"]", "only text is implemented")
			}
			log.JSON = append(log.JSON, [2]string{key, text.StringValue})
		}
	}
	if log.Text == "" && log.JSON == nil {
		return nil, values.Wrong(at+".log_format", "only inline text and JSON are implemented")
	}
	var err error
	log.Filter, err = expression(field+".filter", in.GetFilter())
	return log, err
}

// expression reads which requests have a line; "": each has.
func expression(field string, in *accesslog.AccessLogFilter) (string, error) {
	if in == nil {
		return "", nil
	}
	m, at := &cel.ExpressionFilter{}, field+".extension_filter.typed_config"
	if err := in.GetExtensionFilter().GetTypedConfig().UnmarshalTo(m); err != nil {
		return "", values.Wrong(at, "%w", err)
	}
	if _, err := condition.Parse(m.GetExpression()); err != nil {
		return "", values.Wrong(at+".expression", "%w", err)
	}
	return m.GetExpression(), nil
}
