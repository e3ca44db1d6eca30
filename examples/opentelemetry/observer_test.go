package opentelemetry

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/vgpukit/vgpukit/vgpu"
)

// TestObserver: each step that ended has a span as long as it took, and a failed
// one says why.
func TestObserver(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(recorder))
	o := NewObserver(t.Context(), provider.Tracer("test"))
	o.Ended(vgpu.Step{Op: "start", VM: "vm", Name: "create", Took: time.Second})
	o.Failed(vgpu.Step{Op: "start", VM: "vm", Name: "start"}, errors.New("no"))
	o.Undone(vgpu.Step{Op: "start", VM: "vm", Name: "create"}, nil)
	spans := recorder.Ended()
	require.Len(t, spans, 3)
	assert.Equal(t, "start create", spans[0].Name())
	assert.Equal(t, time.Second, spans[0].EndTime().Sub(spans[0].StartTime()))
	assert.Equal(t, codes.Error, spans[1].Status().Code)
	assert.Equal(t, "start undo create", spans[2].Name())
}
