package opentelemetry

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

const document = "<domain type='kvm'><name>vm</name><os><type arch='x86_64' machine='q35'>hvm</type></os><devices/></domain>"

// TestOneTraceAnOperation: an operation is one span under the caller's, its steps
// and what is undone are spans under that, and a failure is told where it was.
func TestOneTraceAnOperation(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	tracer := trace.NewTracerProvider(trace.WithSpanProcessor(recorder)).Tracer("test")
	board, err := mdevtest.NewBoard("tesla-m60")
	require.NoError(t, err)
	sim := mdevtest.New(board)
	host, err := mdev.Open(mdev.Config{FS: sim})
	require.NoError(t, err)
	libvirt := vgputest.New(sim)
	libvirt.Fail(vgputest.Fault{Method: "Define", Err: domain.ErrPermission})
	manager, err := vgpu.New(vgpu.Config{Host: host, Hypervisor: libvirt, StateDir: t.TempDir(), Observer: NewObserver(tracer)})
	require.NoError(t, err)

	ctx, caller := tracer.Start(t.Context(), "caller")
	_, err = manager.Provision(ctx, vgpu.ProvisionRequest{Domain: document, VGPUs: []vgpu.Request{{Type: "GRID M60-8Q"}}})
	require.ErrorIs(t, err, vgpu.ErrPermission)
	caller.End()

	byName := map[string]trace.ReadOnlySpan{}
	for _, span := range recorder.Ended() {
		byName[span.Name()] = span
	}
	require.Contains(t, byName, "provision")
	whole := byName["provision"]
	assert.Equal(t, caller.SpanContext().SpanID(), whole.Parent().SpanID())
	assert.Equal(t, codes.Error, whole.Status().Code)
	for name, status := range map[string]codes.Code{
		"provision place": codes.Unset, "provision create": codes.Unset, "provision define": codes.Error,
		"provision undo define": codes.Unset, "provision undo create": codes.Unset,
	} {
		if assert.Contains(t, byName, name) {
			assert.Equal(t, whole.SpanContext().SpanID(), byName[name].Parent().SpanID(), name)
			assert.Equal(t, status, byName[name].Status().Code, name)
		}
	}
	for _, span := range byName {
		assert.Equal(t, caller.SpanContext().TraceID(), span.SpanContext().TraceID(), span.Name())
	}
}
