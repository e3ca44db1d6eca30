package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
)

// TestControlPlane: a VM lives and dies by HTTP, and what is wrong has the status
// of its kind and says what to do.
func TestControlPlane(t *testing.T) {
	manager, _ := manage(t, "tesla-m60")
	server := httptest.NewServer(handler(manager))
	t.Cleanup(server.Close)
	body, err := json.Marshal(map[string]any{
		"domain": document("vm"), "vgpus": []map[string]string{{"type": "GRID M60-2Q"}},
	})
	require.NoError(t, err)
	for _, step := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"PUT", "/vms/other", string(body), http.StatusBadRequest, "the body is not"},
		{"PUT", "/vms/vm", "{", http.StatusBadRequest, "the body is not"},
		{"PUT", "/vms/vm", strings.ReplaceAll(string(body), "M60-2Q", "M60-9Q"), http.StatusNotFound, `"next"`},
		{"GET", "/vms/vm", "", http.StatusNotFound, `"next"`},
		{"PUT", "/vms/vm", string(body), http.StatusOK, `"state":"off"`},
		{"POST", "/vms/vm/start", "", http.StatusOK, `"state":"running"`},
		{"GET", "/vms", "", http.StatusOK, `"name":"vm"`},
		{"POST", "/vms/vm/stop", "", http.StatusOK, `"state":"off"`},
		{"DELETE", "/vms/vm", "", http.StatusOK, "{}"},
		{"GET", "/vms", "", http.StatusOK, "[]"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), step.method, server.URL+step.path, strings.NewReader(step.body))
		require.NoError(t, err)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		answer, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		assert.Equal(t, step.status, res.StatusCode, "%s %s: %s", step.method, step.path, answer)
		assert.Contains(t, string(answer), step.says)
	}
}

// TestOneStatus: an error that matches several kinds has the status of the one that
// the whole came to, each time.
func TestOneStatus(t *testing.T) {
	inner := errors.Join(&vgpu.Error{Kind: vgpu.ErrNotFound}, mdev.ErrInUse, vgpu.ErrInvalid)
	for range 100 {
		assert.Equal(t, http.StatusInsufficientStorage, statusOf(&vgpu.Error{Kind: vgpu.ErrNoCapacity, Err: inner}))
		assert.Equal(t, http.StatusConflict, statusOf(fmt.Errorf("x: %w", &vgpu.Error{Kind: vgpu.ErrState, Err: inner})))
		assert.Equal(t, http.StatusInternalServerError, statusOf(&vgpu.Error{Err: errors.Join(context.Canceled, inner)}))
	}
}

// TestServeWatches: the vGPU of a VM that is destroyed by hand is given back while
// the service runs, and the service ends well.
func TestServeWatches(t *testing.T) {
	manager, libvirt := manage(t, "mtty")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, manager, listener) }()
	call := func(method, path, body string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+listener.Addr().String()+path, strings.NewReader(body))
		require.NoError(t, err)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, res.StatusCode, string(answer))
		return string(answer)
	}
	body, err := json.Marshal(map[string]any{
		"domain": document("watched"), "vgpus": []map[string]string{{"type": "mtty-1"}}, "lifetime": "while-running",
	})
	require.NoError(t, err)
	call("PUT", "/vms/watched", string(body))
	require.Contains(t, call("POST", "/vms/watched/start", ""), `"present":true`)
	require.NoError(t, libvirt.Virsh().Destroy(t.Context(), "watched"))
	require.Eventually(t, func() bool { return strings.Contains(call("GET", "/vms/watched", ""), `"present":false`) }, time.Minute, 10*time.Millisecond)
	call("DELETE", "/vms/watched", "")
	stop()
	require.NoError(t, <-ended)
}
