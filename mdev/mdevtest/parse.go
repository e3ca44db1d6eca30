package mdevtest

import (
	"errors"
	"strconv"
	"strings"
	"syscall"
)

// parseUint reads a number as the kernel's kstrtoul with base 0 does.
func parseUint(s string, bits int) (uint64, error) {
	s = strings.TrimSuffix(s, "\n")
	s = strings.TrimPrefix(s, "+")
	base := 10
	if len(s) > 1 && s[0] == '0' {
		base = 8
		if len(s) > 2 && s[1]|0x20 == 'x' {
			base, s = 16, s[2:]
		}
	}
	if strings.ContainsAny(s, "+-") {
		return 0, syscall.EINVAL
	}
	n, err := strconv.ParseUint(s, base, bits)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, syscall.ERANGE
	case err != nil:
		return 0, syscall.EINVAL
	}
	return n, nil
}

// parseUUID reads what is written to "create": 36 characters and one more of
// any kind.
func parseUUID(s string) (string, error) {
	if len(s) < 36 || len(s) > 37 {
		return "", syscall.EINVAL
	}
	for i, c := range []byte(s[:36]) {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return "", syscall.EINVAL
			}
		default:
			if !strings.ContainsRune("0123456789abcdefABCDEF", rune(c)) {
				return "", syscall.EINVAL
			}
		}
	}
	return strings.ToLower(s[:36]), nil
}
