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
	sumSize  = 16
)

// fileName turns a name into one that is safe as a file's: escaped, and cut with
// a checksum when long. Escaping leaves no comma in a name, so that no other name reads
// like one that was cut.
func fileName(name string) string { return shorten(name, ",") }

// formerFileName is fileName as earlier versions had it: a name of another VM could
// read like one that was cut.
func formerFileName(name string) string { return shorten(name, "-") }

// readsFormer tells of a file's name whether it may be one of [formerFileName] that was
// cut.
func readsFormer(file string) bool {
	return len(file) == cutName+1+2*sumSize && file[cutName] == '-'
}

func shorten(name, mark string) string {
	safe := strings.ReplaceAll(url.PathEscape(name), ".", "%2E")
	if len(safe) > longName {
		sum := sha256.Sum256([]byte(name))
		safe = safe[:cutName] + mark + hex.EncodeToString(sum[:sumSize])
	}
	return safe
}
