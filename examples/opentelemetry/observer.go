// Package opentelemetry traces what a vgpu.Manager does: a span for each step.
package opentelemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/vgpukit/vgpukit/vgpu"
)

// NewObserver returns the observer to give to vgpu.Config. The spans are children
// of the one in ctx. A span begins when its step did, as its end tells.
func NewObserver(ctx context.Context, tracer trace.Tracer) vgpu.Observer {
	span := func(s vgpu.Step, name string, err error) {
		end := time.Now()
		_, span := tracer.Start(ctx, name, trace.WithTimestamp(end.Add(-s.Took)), trace.WithAttributes(
			attribute.String("vgpukit.op", s.Op), attribute.String("vgpukit.vm", s.VM),
			attribute.String("vgpukit.step", s.Name), attribute.String("vgpukit.object", s.Object),
		))
		if err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, err.Error())
		}
		span.End(trace.WithTimestamp(end))
	}
	return vgpu.Observer{
		Ended:  func(s vgpu.Step) { span(s, s.Op+" "+s.Name, nil) },
		Failed: func(s vgpu.Step, err error) { span(s, s.Op+" "+s.Name, err) },
		Undone: func(s vgpu.Step, err error) { span(s, s.Op+" undo "+s.Name, err) },
	}
}
