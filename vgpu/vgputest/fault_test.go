package vgputest_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// TestFailRefuses: a fault that can never strike is a mistake of the test that injects
// it.
func TestFailRefuses(t *testing.T) {
	libvirt := vgputest.New(mdevtest.New())
	for name, fault := range map[string]vgputest.Fault{
		"a method that there is not": {Method: "Strat"},
		"a delay below zero":         {Method: "Start", Delay: -1},
	} {
		assert.Panics(t, func() { libvirt.Fail(fault) }, name)
	}
	assert.NoError(t, func() error { _, err := libvirt.Domains(t.Context()); return err }(), "what was refused strikes")
}
