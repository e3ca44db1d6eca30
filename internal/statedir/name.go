package statedir

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"
)

// Longer names are cut: so long is what is left of them.
const (
	longName = 150
	cutName  = 100
)

// fileName turns a name into one that is safe as a file's: escaped, and cut with
// a checksum when long. Escaping leaves no comma in a name, so that no other name reads
// like one that was cut.
func fileName(name string) string { return shorten(name, ",") }

// formerFileName is fileName as earlier versions had it: a name of another VM could
// read like one that was cut.
func formerFileName(name string) string { return shorten(name, "-") }

func shorten(name, mark string) string {
	safe := strings.ReplaceAll(url.PathEscape(name), ".", "%2E")
	if len(safe) > longName {
		sum := sha256.Sum256([]byte(name))
		safe = safe[:cutName] + mark + hex.EncodeToString(sum[:16])
	}
	return safe
}
