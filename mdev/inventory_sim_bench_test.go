package mdev_test

import "testing"

// BenchmarkSimulatedInventory reads four A40 with 32 virtual functions each.
func BenchmarkSimulatedInventory(b *testing.B) {
	_, host := simulated(b, "a40", "a40", "a40", "a40")
	b.ReportAllocs()
	for b.Loop() {
		inventory(b, host)
	}
}
