package statedir

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// version is that of the files' format. Readers refuse a newer one.
const version = 1

// envelope guards an entry against bits that changed: a wrong UUID must never be
// taken for ours.
type envelope struct {
	Version  int             `json:"vgpukit"`
	Checksum string          `json:"sha256"`
	Record   json.RawMessage `json:"record"`
}

// seal puts what is stored into its envelope.
func seal(content any) ([]byte, error) {
	inner, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(inner)
	out, err := json.MarshalIndent(envelope{Version: version, Checksum: hex.EncodeToString(sum[:]), Record: inner}, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(out, '\n'), nil
}

// errNewer is an entry that is whole, but nothing for this program.
var errNewer = errors.New("written by a newer version of this program")

// unseal takes what is stored out of its envelope, and refuses what is cut off,
// changed, or of a version that we do not know.
func unseal(data []byte, content any) error {
	var e envelope
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("not an entry of ours: %w", err)
	}
	if e.Version > version {
		return fmt.Errorf("%w: version %d of the format, and this program knows %d", errNewer, e.Version, version)
	}
	if e.Version < 1 {
		return errors.New("not an entry of ours: it has no version")
	}
	var inner bytes.Buffer
	if err := json.Compact(&inner, e.Record); err != nil {
		return fmt.Errorf("not an entry of ours: %w", err)
	}
	if sum := sha256.Sum256(inner.Bytes()); hex.EncodeToString(sum[:]) != e.Checksum {
		return errors.New("its checksum does not match: it was changed or damaged")
	}
	if err := json.Unmarshal(inner.Bytes(), content); err != nil {
		return fmt.Errorf("not an entry of ours: %w", err)
	}
	return nil
}
