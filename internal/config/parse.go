package config

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The functions below read one value each. An error is the rule that the
// value broke, to stand behind the variable's name.

// into makes a variable's set function of a parser and a place to store what
// it gives. A variable that is unset and has no default leaves the zero value.
func into[T any](parse func(string) (T, error), field func(*Config) *T) func(*Config, string) error {
	return func(c *Config, value string) error {
		if value == "" {
			return nil
		}
		parsed, err := parse(value)
		if err != nil {
			return err
		}
		*field(c) = parsed
		return nil
	}
}

// list reads parts between commas; empty parts are passed over.
func list[T any](parse func(string) (T, error)) func(string) ([]T, error) {
	return func(value string) ([]T, error) {
		var all []T
		for part := range strings.SplitSeq(value, ",") {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			parsed, err := parse(part)
			if err != nil {
				return nil, err
			}
			all = append(all, parsed)
		}
		if len(all) == 0 {
			return nil, errors.New("must name one at least, and has commas only")
		}
		return all, nil
	}
}

func oneOf[T ~string](allowed ...T) func(string) (T, error) {
	return func(value string) (T, error) {
		if slices.Contains(allowed, T(value)) {
			return T(value), nil
		}
		return "", fmt.Errorf("must be one of %v, not %q", allowed, value)
	}
}

func text(value string) (string, error) {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("must be without control characters, not %q", value)
	}
	return value, nil
}

func secret(value string) (Secret, error) { return NewSecret(value), nil }

func boolean(value string) (bool, error) {
	parsed, err := strconv.ParseBool(strings.ToLower(value))
	if err != nil {
		return false, fmt.Errorf("must be true or false, not %q", value)
	}
	return parsed, nil
}

func whole[T int | int64](least, most T) func(string) (T, error) {
	return func(value string) (T, error) {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < int64(least) || n > int64(most) {
			return 0, fmt.Errorf("must be a whole number from %d to %d, not %q", least, most, value)
		}
		return T(n), nil
	}
}

func rate(value string) (float64, error) {
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) || n < 0 {
		return 0, fmt.Errorf("must be a number from 0 up, not %q", value)
	}
	return n, nil
}

func duration(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("must be a duration above 0 such as 500ms, 90s, 15m or 24h, not %q", value)
	}
	return d, nil
}

// durationOrZero reads a duration of which 0 means that there is no limit.
func durationOrZero(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("must be 0 or a duration such as 15m or 72h, not %q", value)
	}
	return d, nil
}

func port(value string) (int, error) {
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("must be a port from 1 to 65535, not %q", value)
	}
	return int(n), nil
}

// address reads a place to listen. Port 0 lets the system choose one.
func address(value string) (string, error) {
	name, number, err := net.SplitHostPort(value)
	if err == nil && name != "" {
		_, err = host(name)
	}
	if err == nil {
		_, err = strconv.ParseUint(number, 10, 16)
	}
	if err != nil {
		return "", fmt.Errorf("must be host:port with a port from 0 to 65535, such as 127.0.0.1:8080, not %q", value)
	}
	return value, nil
}

// host reads a host name or an IP address, without a port.
func host(value string) (string, error) {
	if _, err := netip.ParseAddr(value); err == nil {
		return value, nil
	}
	bad := func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune(`:/\@[]<>"'?#%,`, r)
	}
	if len(value) > 253 || strings.ContainsFunc(value, bad) {
		return "", fmt.Errorf("must be a host name or an IP address, without scheme and port, not %q", value)
	}
	return value, nil
}

func relayAllow(value string) (RelayAllow, error) {
	parts, err := list(text)(value)
	if err != nil {
		return RelayAllow{}, err
	}
	var allow RelayAllow
	for _, part := range parts {
		if network, err := prefix(part); err == nil {
			allow.Networks = append(allow.Networks, network)
		} else if name, err := host(part); err == nil {
			allow.Hosts = append(allow.Hosts, strings.ToLower(name))
		} else {
			return RelayAllow{}, fmt.Errorf("must be host names, IP addresses and CIDRs such as 10.0.0.0/8, not %q", part)
		}
	}
	return allow, nil
}

// prefix reads a CIDR or an address, which is a network of its own.
func prefix(value string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(value); err == nil {
		ip = ip.WithZone("").Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	network, err := netip.ParsePrefix(value)
	if err != nil {
		return netip.Prefix{}, err
	}
	return network.Masked(), nil
}

func tablePrefix(value string) (string, error) {
	const most = 200 // of the 255 octets of a table's name
	bad := func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && r != '_' && r != '-' && r != '.'
	}
	if len(value) > most || strings.ContainsFunc(value, bad) {
		return "", fmt.Errorf("must be at most %d of a-z A-Z 0-9 _ - . and not %q", most, value)
	}
	return value, nil
}

// namespace is a namespace of CloudWatch; those of AWS are not to be written
// to.
func namespace(value string) (string, error) {
	const most = 255
	bad := func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && !strings.ContainsRune(".-_/#:", r)
	}
	if len(value) > most || strings.ContainsFunc(value, bad) || strings.HasPrefix(value, "AWS/") || strings.HasPrefix(value, ":") {
		return "", fmt.Errorf("must be at most %d of a-z A-Z 0-9 . - _ / # :, and not begin with AWS/ or a colon", most)
	}
	return value, nil
}

func endpoint(value string) (string, error) {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		// Not echoed: a URL may hold a password.
		return "", fmt.Errorf("must be a URL such as http://127.0.0.1:8000, without user and password")
	}
	return value, nil
}

func origins(value string) ([]string, error) {
	all, err := list(origin)(value)
	if err != nil {
		return nil, err
	}
	if len(all) > 1 && slices.Contains(all, "*") {
		return nil, fmt.Errorf("must be * alone or origins without *, not %q", value)
	}
	return all, nil
}

// origin reads what a browser sends as Origin (RFC 6454 section 7).
func origin(value string) (string, error) {
	switch value {
	case "*":
		return value, nil
	case "null":
		return "", errors.New("must not be null, which is the origin of sandboxed frames of any site; serve the page from an origin of its own")
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme == "" || u.Host == "" || strings.Contains(u.Host, "*") ||
		(&url.URL{Scheme: u.Scheme, Host: u.Host}).String() != value {
		return "", fmt.Errorf("must be origins such as https://pages.example.org, without path and wildcard, not %q", value)
	}
	return strings.ToLower(value), nil
}

func encryptionKey(value string) (Secret, error) {
	key, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(key) != KeyOctets {
		return Secret{}, fmt.Errorf("must be base64 of %d octets; make one with: openssl rand -base64 %d", KeyOctets, KeyOctets)
	}
	return NewSecret(string(key)), nil
}

// ParseEncryptionKeys reads keys as ENCRYPTION_KEY holds them, or the octets of
// one, for those that come from elsewhere. The error does not contain them.
func ParseEncryptionKeys(value string) ([]Secret, error) {
	if len(value) == KeyOctets {
		return []Secret{NewSecret(value)}, nil
	}
	return list(encryptionKey)(value)
}

// secretRef reads a reference. What KMS has encrypted is no secret, but is not
// echoed all the same.
func secretRef(value string) (SecretRef, error) {
	if sealed, ok := strings.CutPrefix(value, "kms:"); ok {
		if octets, err := base64.StdEncoding.DecodeString(sealed); err == nil && len(octets) > 0 {
			return SecretRef(value), nil
		}
	}
	arn, _, _ := strings.Cut(value, "#")
	parts := strings.SplitN(arn, ":", 7)
	if len(parts) == 7 && parts[0] == "arn" && parts[2] == "secretsmanager" && parts[5] == "secret" {
		return SecretRef(value), nil
	}
	return "", fmt.Errorf("must be the ARN of a Secrets Manager secret, with #member for one of a JSON object, or kms: and base64")
}

func vpcEndpoint(value string) (string, error) {
	hex, ok := strings.CutPrefix(value, "vpce-")
	bad := func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) }
	if !ok || len(hex) < 8 || len(hex) > 40 || strings.ContainsFunc(hex, bad) {
		return "", fmt.Errorf("must be ids such as vpce-0123456789abcdef0, not %q", value)
	}
	return value, nil
}

// recipientDomain reads a domain, or one with all below it, in ASCII: an
// internationalised one as it goes over the wire (xn--...).
func recipientDomain(value string) (string, error) {
	name, err := host(strings.TrimPrefix(value, "."))
	bad := func(r rune) bool { return r > 0x7e || strings.ContainsRune("*:", r) }
	if err != nil || name == "" || strings.ContainsFunc(name, bad) {
		return "", fmt.Errorf("must be domains such as example.org or .example.org, internationalised ones as xn--..., not %q", value)
	}
	return strings.ToLower(value), nil
}

func sender(value string) (string, error) {
	local, domain, ok := strings.Cut(value, "@")
	bad := func(r rune) bool { return !unicode.IsGraphic(r) || strings.ContainsRune(" <>\"(),:;", r) }
	if _, err := recipientDomain(domain); !ok || err != nil || strings.HasPrefix(domain, ".") || strings.ContainsFunc(local, bad) {
		return "", fmt.Errorf("must be addresses, and domains such as @example.org, not %q", value)
	}
	return strings.ToLower(value), nil
}

// authoritiesFile reads certificate authorities from a file.
func authoritiesFile(c *Config, path string) error {
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path) //nolint:gosec // the file that the operator names
	if err != nil {
		return fmt.Errorf("must be a file that can be read: %w", err)
	}
	if err := trust(c, text); err != nil {
		return fmt.Errorf("%w: %q", err, path)
	}
	return nil
}

// authorities takes certificate authorities as they are, where no file has been
// named.
func authorities(c *Config, text string) error {
	switch {
	case text == "":
		return nil
	case c.Relay.Roots != nil:
		return errors.New("must not be set together with RELAY_CA_FILE")
	}
	return trust(c, []byte(text))
}

// trust adds the certificates in a text to the system's. What is not one is an
// error, and is not in it: it may be a key.
func trust(c *Config, text []byte) error {
	pool, err := x509.SystemCertPool()
	if err != nil {
		// Some images have no certificates of the system; then these are all.
		pool = x509.NewCertPool()
	}
	found := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("must have certificates in PEM only, and has a %q", block.Type)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("must have certificates in PEM, and number %d is damaged: %w", found+1, err)
		}
		pool.AddCert(certificate)
		found++
	}
	if found == 0 || bytes.Count(text, []byte("-----BEGIN")) != found {
		return fmt.Errorf("must have a certificate in PEM at least, each with its lines BEGIN and END; %d can be read", found)
	}
	c.Relay.Roots = pool
	return nil
}
