package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The other commands work on a mounted host, and ctrl-C unmounts it.
func TestSimulate(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	dir := filepath.Join(t.TempDir(), "host")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	in, out := io.Pipe()
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, []string{"simulate", "--mount", dir, "--board", "tesla-m60", "--board", "l40s@0001:41:00.0,vfs=2"}, nil, out, os.Stderr)
	}()
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil || !strings.Contains(line, "0000:05:00.0, 0000:06:00.0, 0001:41:00.0") {
		t.Fatal(line, err)
	}
	vgpuctl := func(want int, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if got := run(t.Context(), append([]string{"--root", dir}, args...), nil, &stdout, &stderr); got != want {
			t.Errorf("vgpuctl %v: status %d, not %d: %s", args, got, want, stderr.String())
		}
		return stdout.String()
	}
	if text := vgpuctl(0, "inventory"); !strings.Contains(text, "GRID M60-8Q") || !strings.Contains(text, "NVIDIA L40S-2Q") {
		t.Error(text)
	}
	id := strings.TrimSpace(vgpuctl(0, "create", "--type", "GRID M60-8Q", "--parent", "0000:05:00.0"))
	vgpuctl(exitRefused, "create", "--type", "nvidia-18", "--parent", "0000:05:00.0")
	if _, err := os.Stat(filepath.Join(dir, "sys/bus/mdev/devices", id, "mdev_type")); err != nil {
		t.Error(err)
	}
	vgpuctl(0, "remove", id)

	if text := vgpuctl(exitUsage, "simulate", "--mount", dir, "--board", "mtty"); text != "" {
		t.Error("mounted twice:", text)
	}

	interrupt()
	if s := <-status; s != 0 {
		t.Error("status", s)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Error("still mounted:", entries, err)
	}
}

// A board that is not known is wrong use, and nothing is mounted.
func TestSimulateUnknownBoard(t *testing.T) {
	var stderr bytes.Buffer
	dir := filepath.Join(t.TempDir(), "host")
	if s := run(t.Context(), []string{"simulate", "--mount", dir, "--board", "geforce"}, nil, io.Discard, &stderr); s != exitUsage {
		t.Error("status", s)
	}
	if !strings.Contains(stderr.String(), "tesla-m60") {
		t.Error(stderr.String())
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory was made")
	}
}
