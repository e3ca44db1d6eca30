package mdev

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkInventory reads 16 GPUs with 7 virtual functions of 20 types each, from plain
// files.
func BenchmarkInventory(b *testing.B) {
	f := newTree(b)
	for bus := range 16 {
		f.plantGPU(fmt.Sprintf("%02x", 0x40+bus), 7, 20)
	}
	h, err := Open(Config{Root: f.root})
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		inv, err := h.Inventory(b.Context())
		require.NoError(b, err)
		require.Len(b, inv.GPUs, 16)
	}
}
