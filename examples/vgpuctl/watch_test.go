package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/vgpu"
)

// TestWatch: the vGPU of a VM that is destroyed behind our back is given back, and
// ctrl-C is a good end.
func TestWatch(t *testing.T) {
	host := mounted(t, "mtty")
	do := func(args ...string) {
		t.Helper()
		status, _, stderr := host.do(document, args...)
		require.Zero(t, status, stderr)
	}
	do("provision", "--domain", "-", "--vgpu", "type=mtty-1,uuid="+id, "--lifetime", "while-running")
	defer do("teardown", "vm")

	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	r, w := io.Pipe()
	status := make(chan int, 1)
	var stderr bytes.Buffer
	go func() {
		status <- run(ctx, host.args("watch", "-o", "json"), nil, w, &stderr)
		w.Close()
	}()
	lines := bufio.NewReader(r)
	for range 2 { // what ended before it listens, and what ends while it does
		do("start", "vm")
		require.Equal(t, []string{id}, host.Devices())
		require.NoError(t, host.libvirt.Destroy(t.Context(), "vm"))
		line, err := lines.ReadBytes('\n')
		require.NoError(t, err)
		var done deed
		require.NoError(t, json.Unmarshal(line, &done))
		assert.Equal(t, deed{done.Time, "reconcile", "vm", "release", id}, done)
		assert.Empty(t, host.Devices())
	}
	interrupt()
	assert.Zero(t, <-status, stderr.String())
	assert.Empty(t, stderr.String())
}

// TestWatchTellsFailures: what Watch cannot do is told as any failure, a line that
// says what and one that says what to do.
func TestWatchTellsFailures(t *testing.T) {
	var stderr bytes.Buffer
	log := slog.New(failures{&globals{ctx: t.Context(), stderr: &stderr}}).With("vm", "vm")
	log.Info("waiting", "err", errors.New("nothing"))
	log.Error("step failed", "step", "release", "err", &vgpu.Error{Op: "reconcile", VM: "vm", Kind: vgpu.ErrInUse, Next: "wait"})
	assert.Equal(t, "vgpuctl: reconcile vm: in use\nwhat to do: wait\n", stderr.String())
}
