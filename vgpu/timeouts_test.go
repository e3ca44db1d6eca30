package vgpu

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestNegativeTimeouts: no Manager is made with a time below zero, and no state
// directory.
func TestNegativeTimeouts(t *testing.T) {
	r := newRig(t, "mtty")
	for name, times := range map[string]Timeouts{
		"Timeouts.Lock":    {Lock: -1},
		"Timeouts.Call":    {Call: -time.Second},
		"Timeouts.Start":   {Start: -1},
		"Timeouts.Release": {Release: -time.Hour},
		"Timeouts.Undo":    {Undo: -1},
	} {
		dir := filepath.Join(t.TempDir(), "state")
		_, err := New(Config{Host: r.host, Hypervisor: r.hyper, StateDir: dir, Timeouts: times})
		require.ErrorIs(t, err, ErrInvalid, name)
		assert.ErrorContains(t, err, name)
		assert.Contains(t, Hint(err), "0 for the default")
		_, err = os.Stat(dir)
		assert.ErrorIs(t, err, os.ErrNotExist, name)
		require.ErrorIs(t, times.Check(), ErrInvalid, name)
	}
	assert.NoError(t, Timeouts{Lock: 1}.Check())
}

// TestNegativeOptions: a verb that is given a time below zero says so and does nothing.
func TestNegativeOptions(t *testing.T) {
	r := newRig(t, "mtty")
	vm := r.provisionVM("mtty-1", WhileRunning)
	for name, do := range map[string]func(*Manager) error{
		"start vm: check: StartOptions.Timeout is -1s": func(m *Manager) error {
			_, err := m.Start(t.Context(), vm.Name, StartOptions{Timeout: -time.Second})
			return err
		},
		"stop vm: check: StopOptions.GuestTimeout is -1ns": func(m *Manager) error {
			_, err := m.Stop(t.Context(), vm.Name, StopOptions{GuestTimeout: -1})
			return err
		},
		"stop vm: check: StopOptions.TerminateTimeout is -1m0s": func(m *Manager) error {
			_, err := m.Stop(t.Context(), vm.Name, StopOptions{SkipGuest: true, TerminateTimeout: -time.Minute})
			return err
		},
		"teardown vm: check: StopOptions.GuestTimeout is -1ns": func(m *Manager) error {
			return m.Teardown(t.Context(), vm.Name, TeardownOptions{Stop: StopOptions{GuestTimeout: -1}})
		},
	} {
		before := r.world()
		steps := 0
		err := do(r.manager(Observer{StepEnded: func(context.Context, Step, error) { steps++ }}))
		require.ErrorIs(t, err, ErrInvalid, name)
		assert.ErrorContains(t, err, name)
		assert.Zero(t, steps, name)
		assert.Equal(t, before, r.world(), name)
	}
}
