//go:build cgo

package virt

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A dead daemon is noticed after the same time, however often libvirt is poked.
func TestKeepAliveSettings(t *testing.T) {
	for _, tt := range []struct {
		want    time.Duration
		loses   bool
		seconds int
		misses  uint
	}{
		{5 * time.Second, false, 5, 5},
		{5 * time.Second, true, 1, 25},
		{1, false, 1, 5},
		{1500 * time.Millisecond, true, 1, 10},
		{-1, false, 0, 5},
		{-1, true, 1, math.MaxInt32},
	} {
		seconds, misses := keepAlive(tt.want, tt.loses)
		assert.Equal(t, tt.seconds, seconds, tt)
		assert.Equal(t, tt.misses, misses, tt)
	}
}
