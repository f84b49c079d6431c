package contract

import "strings"

// What is in fields of each name: mostly what is meant to be there, and the borders of it.
var texts = map[string][]string{
	"hosts": {"web", "web.shop.svc.cluster.local", "db", "db.shop", "alias", "api.example.com", "*.example.com", "*", "*.com", "a.example.com", "shop/*", "*/*", "./*", "~/*", "other/api.example.com",
		"10.0.0.1", "2001:db8::1", "WEB", "edge.other.svc.cluster.local", "~shop/web.shop.svc.cluster.local", "*.shop.svc.cluster.local", "a\nb", "a b"},
	"sniHosts":   {"web.shop.svc.cluster.local", "api.example.com", "*.example.com", "*", "a.example.com"},
	"addresses":  {"10.0.0.1", "10.0.0.0/24", "240.0.0.1", "2001:db8::1", "2001:db8::/64", "::ffff:10.0.0.1", "0.0.0.0/0", "10.0.0.1/32", "::/0", "10.0.0.7/24", "x"},
	"namespaces": {"shop", "other", "*", ".", "~", "sh*", "*op", "heddle-system", ""},
	"regex":      {".*", "/items/[0-9]+", "^/p/(.*)$", "a|b", "(?i)x", "[", "(", "a{1000}", `\d+\.\d+`, "", `(?P<n>a)(b)`, `\pL+`, "x{2,1}", `(?:a*)*`, `\Qa.b\E`},
	"rewrite":    {`/\1`, `\0`, `/\2/\1`, `\9`, `\\`, "/x", "", "/a\r\nb"},
	"path":       {"/", "/x", "/a/b", "x", "", "/%2e%2e/", "/a?b", "//", "/{*}/x", "/a/{**}", "*", "/x*", "*/x", "/a\nb"},
	"header":     {"x-a", "X-B", "cookie", ":authority", ":method", "host", "Host", "a b", "", "user-agent", ":path", ":nosuch", "connection", "content-length", "x-envoy-retry-on", "é"},
	"value":      {"1", "", "a b", "%UPSTREAM_HOST%", "%NO_SUCH%", "%", "%%", "%REQ(x-a)%", "é", "a\nb", "\x00", "100%"},
	"address":    {"10.1.2.3", "api.example.com", "2001:db8::1", "127.0.0.1:8080", "0.0.0.0:80", "unix:///x", "x", "[::1]:80", "256.1.1.1"},
	"principals": {"cluster.local/ns/shop/sa/web", "*", "spiffe://cluster.local/ns/shop/sa/web", "*/sa/web", "cluster.local/*", ""},
	"gateways":   {"mesh", "a", "b", "other/c", "./a", "shop/a", "a/b/c", "", "shop/b"},
	"protocol":   {"HTTP", "HTTP", "HTTPS", "TLS", "TCP", "GRPC", "HTTP2", "MONGO", "UDP", "MYSQL", "http", "GRPC-WEB", "", "x"},
	"retryOn":    {"5xx", "gateway-error,503", "connect-failure, refused-stream", "retriable-status-codes", "retriable-headers", "x", "600", "", ",", "reset,unavailable"},
	"locality":   {"eu/a", "eu", "us/b/c", "*", "eu/*", "", "a/b/c/d"},
	"key":        {"source.ip", "remote.ip", "request.headers[x-a]", "source.principal", "source.namespace", "destination.ip", "destination.port", "connection.sni", "request.auth.claims[a]", "request.headers[", "x", "source.serviceAccount"},
	"method":     {"GET", "POST", "*", "get", "", "G*", "G ET"},
	"labels":     {"web", "a", "edge", "v1", "v2", "*", ""},
	"labelKeys":  {"app", "version", "istio", "app", "security.istio.io/tlsMode", ""},
	"mesh":       {"TLSV1_3", "P-256", "ECDHE-RSA-AES256-GCM-SHA384", "X25519", "x"},
	"names":      {"v1", "v2", "http", "tcp", "https", "a", "b", "", "a.b", "UPPER", "a|b", "named", strings.Repeat("n", 64)},
	"other":      {"a", "web", "shop", "*", "/x", "example.com", "", "%", "\t", "é", strings.Repeat("x", 300), "1", "system", "spiffe://cluster.local/ns/shop/sa/web", "/dev/stdout"},
}

// alike says whose values a field of another name has.
var alike = map[string]string{
	"host": "hosts", "authority": "hosts", "sni": "sniHosts", "allowOrigin": "hosts", "exportTo": "namespaces", "namespace": "namespaces", "sourceNamespace": "namespaces",
	"notNamespaces": "namespaces", "ipBlocks": "addresses", "notIpBlocks": "addresses", "remoteIpBlocks": "addresses", "notRemoteIpBlocks": "addresses",
	"destinationSubnets": "addresses", "match": "regex", "uri": "path", "paths": "path", "notPaths": "path", "exact": "path", "prefix": "path", "prefixRewrite": "path",
	"headers.key": "header", "withoutHeaders.key": "header", "queryParams.key": "header", "set.key": "header", "add.key": "header", "remove": "header",
	"set": "value", "add": "value", "string": "value", "values": "value", "notValues": "value", "allowHeaders": "header", "exposeHeaders": "header", "allowMethods": "method",
	"methods": "method", "notMethods": "method", "notHosts": "hosts", "notPrincipals": "principals", "serviceAccounts": "principals", "notServiceAccounts": "principals",
	"trustDomains": "hosts", "notTrustDomains": "hosts", "requestPrincipals": "principals", "subjectAltNames": "hosts", "bind": "address", "defaultEndpoint": "address",
	"from": "locality", "to.key": "locality", "to": "locality", "sourceLabels.key": "labelKeys", "labels.key": "labelKeys", "matchLabels.key": "labelKeys", "selector.key": "labelKeys",
	"sourceLabels": "labels", "matchLabels": "labels", "selector": "labels", "failoverPriority": "labelKeys", "name": "names", "subset": "names", "ports.key": "names",
	"cipherSuites": "mesh", "ecdhCurves": "mesh", "localityLbSetting": "locality", "derivePort": "other", "credentialName": "names", "defaultServiceExportTo": "namespaces",
	"defaultVirtualServiceExportTo": "namespaces", "defaultDestinationRuleExportTo": "namespaces", "trustDomain": "hosts", "trustDomainAliases": "hosts", "ports": "port", "notPorts": "port",
	"accessLogFormat": "value", "rootNamespace": "namespaces",
}

// sound are values that fields may have where the one that was drawn is refused, as JSON.
var sound = map[string]string{
	"host": `"web.shop.svc.cluster.local"`, "hosts": `["api.example.com"]`, "number": `80`, "name": `"http"`, "protocol": `"HTTP"`, "address": `"10.2.0.1"`, "regex": `".*"`,
	"exact": `"/x"`, "prefix": `"/x"`, "credentialName": `"b"`, "resolution": `"DNS"`, "route": `[{"destination": {"host": "web.shop.svc.cluster.local"}}]`, "weight": `1`, "key": `"request.headers[x-a]"`,
	"destination": `{"host": "web.shop.svc.cluster.local"}`, "servers": `[{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]`, "tls": `{"mode": "SIMPLE", "credentialName": "b"}`,
	"ports": `[{"number": 80, "name": "http", "protocol": "HTTP"}]`, "endpoints": `[{"address": "10.2.0.1"}]`, "http": `[{"route": [{"destination": {"host": "web.shop.svc.cluster.local"}}]}]`,
	"namespace": `"heddle-system"`, "port": `{"number": 80, "name": "http", "protocol": "HTTP"}`, "httpStatus": `503`, "status": `200`, "percentage": `{"value": 10}`, "interval": `"1s"`,
	"values": `["a"]`, "from": `[{"source": {"namespaces": ["shop"]}}]`, "to": `[{"operation": {"ports": ["80"]}}]`, "sniHosts": `["api.example.com"]`, "fixedDelay": `"1s"`,
}

// text draws the text in a field.
func (d *drawing) text(name string) string {
	if name == "ports" || name == "notPorts" {
		return one(d, "80", "443", "9000", "0", "65536", "x", "")
	}
	if other, ok := alike[name]; ok {
		name = other
	}
	list := texts[name]
	if list == nil || d.IntN(20) == 0 {
		list = texts["other"]
	}
	return one(d, list...)
}
