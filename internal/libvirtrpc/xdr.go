package libvirtrpc

import (
	"errors"
	"fmt"
)

// The most that libvirt puts into one string, one opaque and one list.
const (
	maxString = 4 << 20
	maxOpaque = 4 << 20
	maxList   = 16384
)

// ErrMalformed is what all errors of decoding match.
var ErrMalformed = errors.New("malformed message")

// A coder is what says itself how it is encoded, as unions do.
type coder interface {
	encode(*encoder) error
	decode(*decoder) error
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// padding is what follows n bytes of an opaque, to a multiple of four.
func padding(n int) int { return -n & 3 }
