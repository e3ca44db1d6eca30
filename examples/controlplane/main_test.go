package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/internal/exampletest"
)

// TestControlPlane: a VM lives and dies by HTTP, and what is wrong has the status
// of its kind and says what to do.
func TestControlPlane(t *testing.T) {
	server := httptest.NewServer(handler(exampletest.Manager(t, exampletest.Host(t, "tesla-m60"))))
	t.Cleanup(server.Close)
	body, err := json.Marshal(map[string]any{
		"domain": string(exampletest.Document("vm")), "vgpus": []map[string]string{{"type": "GRID M60-2Q"}},
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
