//go:build cgo

package virt

import (
	"math"
	"time"

	"libvirt.org/go/libvirt"
)

// keepAliveMisses unanswered messages end the connection.
const keepAliveMisses = 5

// keepAlive returns libvirt's settings for the wanted interval: whole seconds
// between messages, 0 for none, and how many may go unanswered.
//
// With a libvirt that loses wake-ups there is a message each second, whatever is
// wanted, because its answer wakes the client: so a lost one costs a second
// instead of the rest of the first call. The time until a dead daemon is noticed
// stays as wanted, which is never for a negative interval.
func keepAlive(want time.Duration, losesWakeups bool) (seconds int, misses uint) {
	if want > 0 {
		seconds = int((want + time.Second - 1) / time.Second)
	}
	switch {
	case !losesWakeups:
		return seconds, keepAliveMisses
	case seconds > 0:
		return 1, uint(seconds * keepAliveMisses)
	}
	return 1, math.MaxInt32
}

// losesWakeups tells whether the client library is one of 6.1.0 to 9.10.0. When
// two calls are made on one connection at a time, in these the second may be
// sent only when something comes from the daemon: its thread tells the first
// one's to send it, and that one misses it if it is just about to wait. libvirt
// 10.0.0: "rpc: fix race in waking up client event loop".
func losesWakeups() bool {
	version, err := libvirt.GetVersion()
	return err == nil && version >= 6_001_000 && version < 10_000_000
}
