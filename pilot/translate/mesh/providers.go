package mesh

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	meshapi "istio.io/api/mesh/v1alpha1"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// prometheus is the one kind of metrics: proxies are asked for them, and need no provider to have them.
const prometheus = "prometheus"

// accessLog reads the log of proxies for which nothing names providers.
func accessLog(log *report.Log, c *meshapi.MeshConfig, m *model.Mesh) {
	m.ListenerLogOff = c.DisableEnvoyListenerLog
	m.AccessLog = model.AccessLog{JSON: c.AccessLogEncoding == meshapi.MeshConfig_JSON}
	if err := checkFormat(m.AccessLog.JSON, c.AccessLogFormat); err != nil {
		log.Partialf("mesh.accessLogFormat", "%v", err)
	} else {
		m.AccessLog.Format = c.AccessLogFormat
	}
	if c.AccessLogFile != "" && isStdout(log, "mesh.accessLogFile", c.AccessLogFile) {
		m.AccessLog.File = model.Stdout
	}
}

// checkFormat says what is wrong with the format of an access log: a text or, for JSON, an object of texts.
func checkFormat(object bool, format string) error {
	texts := []string{format}
	if object && format != "" {
		var members map[string]string
		if err := json.Unmarshal([]byte(format), &members); err != nil {
			return fmt.Errorf("for JSON an object of texts is expected: %w", err)
		}
		texts = slices.Collect(maps.Values(members))
	}
	for _, text := range texts {
		if err := values.Format(text); err != nil {
			return err
		}
	}
	return nil
}

func isStdout(log *report.Log, path, file string) bool {
	if file != model.Stdout {
		log.Partialf(path, "%q: only %q is implemented by this version", file, model.Stdout)
	}
	return file == model.Stdout
}

// providers reads extensionProviders, and those of them that are in force where no Telemetry names any.
func providers(log *report.Log, c *meshapi.MeshConfig, m *model.Mesh) {
	for i, p := range c.ExtensionProviders {
		path := fmt.Sprintf("mesh.extensionProviders[%d]", i)
		switch {
		case p.GetOpentelemetry() != nil:
			if target := spanTarget(p.GetOpentelemetry()); target != "" {
				put(&m.TracingProviders, p.Name, target)
			}
		case p.GetEnvoyFileAccessLog() != nil:
			if file, ok := logFile(log, path+".envoyFileAccessLog", p.GetEnvoyFileAccessLog()); ok {
				put(&m.LogProviders, p.Name, file)
			}
		case p.GetPrometheus() != nil:
			m.MetricProviders = append(m.MetricProviders, p.Name)
		}
	}
	for i, name := range c.GetDefaultProviders().GetAccessLogging() {
		if _, ok := m.LogProvider(name); !ok {
			log.Partialf(fmt.Sprintf("mesh.defaultProviders.accessLogging[%d]", i), "%s", noLog(name))
			continue
		}
		m.DefaultLogs = append(m.DefaultLogs, name)
	}
	for i, name := range c.GetDefaultProviders().GetMetrics() {
		if !counts(m, name) {
			log.Partialf(fmt.Sprintf("mesh.defaultProviders.metrics[%d]", i), "%s", noMetrics(name))
		}
	}
}

func put[V any](all *map[string]V, name string, v V) {
	if *all == nil {
		*all = map[string]V{}
	}
	(*all)[name] = v
}

// spanTarget is host:port of a receiver of spans, or "".
func spanTarget(p *meshapi.MeshConfig_ExtensionProvider_OpenTelemetryTracingProvider) string {
	if p.Service == "" || p.Port == 0 {
		return ""
	}
	host := p.Service
	if _, after, ok := strings.Cut(host, "/"); ok { // namespace/host
		host = after
	}
	return fmt.Sprintf("%s:%d", host, p.Port)
}

// logFile reads a provider of access logs. A format that cannot be used leaves Istio's text in force.
func logFile(log *report.Log, path string, p *meshapi.MeshConfig_ExtensionProvider_EnvoyFileAccessLogProvider) (model.AccessLog, bool) {
	out := model.AccessLog{File: cmp.Or(p.Path, model.Stdout)}
	if !isStdout(log, path+".path", out.File) {
		return out, false
	}
	switch f := p.GetLogFormat().GetLogFormat().(type) {
	case *meshapi.MeshConfig_ExtensionProvider_EnvoyFileAccessLogProvider_LogFormat_Text:
		out.Format = f.Text
	case *meshapi.MeshConfig_ExtensionProvider_EnvoyFileAccessLogProvider_LogFormat_Labels:
		text, err := json.Marshal(f.Labels.AsMap()) // sorts the keys
		if err != nil {
			log.Partialf(path+".logFormat.labels", "%v", err)
			return out, true
		}
		out.JSON, out.Format = true, string(text)
	}
	if err := checkFormat(out.JSON, out.Format); err != nil {
		log.Partialf(path+".logFormat", "%v", err)
		out.JSON, out.Format = false, ""
	}
	return out, true
}

// tracing reads where spans go where no Telemetry says it. Of several providers the first counts, as in Istio.
func tracing(log *report.Log, c *meshapi.MeshConfig, m *model.Mesh) {
	m.Tracing.Sampling = 1
	if t := c.GetDefaultConfig().GetTracing(); t != nil {
		m.Tracing.Sampling = percent(log, "mesh.defaultConfig.tracing.sampling", t.Sampling)
		m.Tracing.MaxPath = t.MaxPathTagLength
		for _, name := range slices.Sorted(maps.Keys(t.CustomTags)) {
			tag, unusable := t.CustomTags[name], len(log.Issues)
			read := spanTag(log.Partialf, "mesh.defaultConfig.tracing.customTags["+name+"]", name, tag)
			if len(log.Issues) == unusable {
				m.Tracing.Tags = append(m.Tracing.Tags, read)
			}
		}
	}
	for i, name := range c.GetDefaultProviders().GetTracing() {
		target, ok := m.TracingProviders[name]
		if !ok {
			log.Partialf(fmt.Sprintf("mesh.defaultProviders.tracing[%d]", i), "%s", noTracing(name))
		}
		m.Tracing.Target = cmp.Or(m.Tracing.Target, target)
	}
	if c.EnableTracing && m.Tracing.Target == "" {
		log.Partialf("mesh.enableTracing", "no defaultProviders.tracing says where spans go")
	}
}

// counts reports whether a provider of metrics is the one that there is.
func counts(m *model.Mesh, name string) bool {
	return name == prometheus || slices.Contains(m.MetricProviders, name)
}

func noLog(name string) string {
	return fmt.Sprintf("no access log provider %q among mesh.extensionProviders", name)
}

func noTracing(name string) string {
	return fmt.Sprintf("no opentelemetry provider %q with service and port among mesh.extensionProviders", name)
}

func noMetrics(name string) string {
	return fmt.Sprintf("%q is no provider of metrics; prometheus is", name)
}
