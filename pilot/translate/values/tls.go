package values

// CipherSuite reports whether name is a suite of TLS 1.2 that the proxy has, by the names that Envoy gives them. The last two, without forward
// secrecy, are used only where they are named.
func CipherSuite(name string) bool {
	switch name {
	case "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
		"ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305", "AES256-GCM-SHA384", "AES128-GCM-SHA256":
		return true
	}
	return false
}

// Curve reports whether name is a group for key exchange that the proxy has, by the names that Envoy gives them.
func Curve(name string) bool {
	switch name {
	case "P-256", "P-384", "P-521", "X25519", "X25519MLKEM768":
		return true
	}
	return false
}
