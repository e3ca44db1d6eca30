package vgpu

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
)

// TestRequestsTravel: what a control plane sends and is answered reads well as JSON and
// comes back the same; durations and documents are text.
func TestRequestsTravel(t *testing.T) {
	for _, c := range []struct {
		value any
		text  string
	}{
		{&StartOptions{Timeout: 90 * time.Second}, `{"timeout":"1m30s"}`},
		{&StartOptions{}, `{}`},
		{
			&StopOptions{GuestTimeout: time.Minute, Ask: domain.ShutdownACPI, TerminateTimeout: 20 * time.Second, Force: true},
			`{"ask":"acpi","force":true,"guest_timeout":"1m0s","terminate_timeout":"20s"}`,
		},
		{&StopOptions{SkipGuest: true}, `{"skip_guest":true}`},
		{&TeardownOptions{Stop: StopOptions{SkipGuest: true}}, `{"stop":{"skip_guest":true},"undefine":{}}`},
		{&ReconcileOptions{DryRun: true, Restore: true}, `{"dry_run":true,"restore":true}`},
		{&Operation{Op: "start", VM: "web1", Took: 1500 * time.Millisecond}, `{"op":"start","vm":"web1","took":"1.5s"}`},
		{&Step{Op: "start", VM: "web1", Name: "create", Object: "x"}, `{"op":"start","vm":"web1","step":"create","object":"x"}`},
		{
			&ProvisionRequest{Domain: "<domain>\n</domain>", VGPUs: []Request{{Type: "nvidia-22", Address: "0000:00:08.0"}}, Lifetime: WhileRunning},
			`{"domain":"<domain>\n</domain>","vgpus":[{"type":"nvidia-22","address":"0000:00:08.0"}],"lifetime":"while-running"}`,
		},
		{
			&Plan{VM: "web1", Lifetime: Reserved, VGPUs: []PlannedVGPU{}, Document: "<domain/>"},
			`{"vm":"web1","uuid":"00000000-0000-0000-0000-000000000000","lifetime":"reserved","vgpus":[],"document":"<domain/>"}`,
		},
		{
			&Report{Actions: []Action{{Kind: ActionOrphan, VM: "web1", Reason: "it is left", Error: &Error{Op: "reconcile", VM: "web1", Kind: ErrInUse}}}},
			`{"actions":[{"kind":"orphan","vm":"web1","reason":"it is left","done":false,"error":{"error":"reconcile web1: in use","kind":"in_use","op":"reconcile","vm":"web1"}}],"strangers":null}`,
		},
	} {
		data, err := json.Marshal(c.value)
		require.NoError(t, err)
		assert.JSONEq(t, c.text, string(data))
		back := reflect.New(reflect.TypeOf(c.value).Elem()).Interface()
		require.NoError(t, json.Unmarshal(data, back))
		again, err := json.Marshal(back)
		require.NoError(t, err)
		assert.Equal(t, string(data), string(again))
		if _, report := c.value.(*Report); !report { // an error that travelled is told by its kind: see errors_test.go
			assert.Equal(t, c.value, back)
		}
	}
	require.Error(t, json.Unmarshal([]byte(`{"timeout":"soon"}`), &StartOptions{}))
}
