//go:build cgo

package virt

import (
	"fmt"
	"testing"
	"time"
)

func TestZZ(t *testing.T) {
	for _, v := range []struct{ conns, calls int }{{17, 4}} {
		h, uri := serveStorm(t)
		c := openURI(t, Config{URI: uri, MaxConnections: v.conns, MaxCalls: v.calls})
		fmt.Print(v, ": ")
		for range 8 {
			begun := time.Now()
			connStorm(t, c)
			fmt.Printf("%.2f ", time.Since(begun).Seconds())
			calm(t, h)
		}
		fmt.Println()
	}
}
