// Package opentelemetry traces what a vgpu.Manager does: a span for each operation,
// within the caller's, and in it a span for each step.
package opentelemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/vgpukit/vgpukit/vgpu"
)

// NewObserver returns the observer to give to vgpu.Config. The span of an operation
// is a child of the one in its caller's context, or begins a trace; what a step
// waits for is an event of its span. Calls to the host and to libvirt have the
// step's span in their context.
func NewObserver(tracer trace.Tracer) vgpu.Observer {
	return vgpu.Observer{
		OperationBegun: func(ctx context.Context, op vgpu.Operation) context.Context {
			ctx, _ = tracer.Start(ctx, op.Op, attributes(op.Op, op.VM))
			return ctx
		},
		OperationEnded: func(ctx context.Context, _ vgpu.Operation, err error) { end(trace.SpanFromContext(ctx), err) },
		StepBegun: func(ctx context.Context, s vgpu.Step) context.Context {
			ctx, _ = tracer.Start(ctx, s.Op+" "+s.Name, attributes(s.Op, s.VM), of(s))
			return ctx
		},
		StepEnded: func(ctx context.Context, _ vgpu.Step, err error) { end(trace.SpanFromContext(ctx), err) },
		StepUndone: func(ctx context.Context, s vgpu.Step, err error) {
			now := time.Now()
			_, span := tracer.Start(ctx, s.Op+" undo "+s.Name, attributes(s.Op, s.VM), of(s), trace.WithTimestamp(now.Add(-s.Took)))
			end(span, err, trace.WithTimestamp(now))
		},
		StepWaits: func(ctx context.Context, _ vgpu.Step, what string) {
			trace.SpanFromContext(ctx).AddEvent("waits", trace.WithAttributes(attribute.String("vgpukit.for", what)))
		},
	}
}

func attributes(op, vm string) trace.SpanStartEventOption {
	return trace.WithAttributes(attribute.String("vgpukit.op", op), attribute.String("vgpukit.vm", vm))
}

func of(s vgpu.Step) trace.SpanStartEventOption {
	return trace.WithAttributes(attribute.String("vgpukit.step", s.Name), attribute.String("vgpukit.object", s.Object))
}

func end(span trace.Span, err error, options ...trace.SpanEndOption) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	span.End(options...)
}
