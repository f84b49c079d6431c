package compile

import (
	"fmt"
	"maps"
	"slices"

	accesslog "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	file "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// accessLogs reads where and how to log.
func accessLogs(field string, in []*accesslog.AccessLog) ([]*exchange.AccessLog, error) {
	var out []*exchange.AccessLog
	for i, entry := range in {
		at := fmt.Sprintf("%s[%d].typed_config", field, i)
		f, err := values.Open(at, entry.GetTypedConfig(), &file.FileAccessLog{})
		if err != nil {
			return nil, err
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
		out = append(out, log)
	}
	return out, nil
}
