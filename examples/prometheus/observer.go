// Package prometheus counts and times what a vgpu.Manager does.
package prometheus

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vgpukit/vgpukit/vgpu"
)

// NewObserver registers its metrics and returns the observer to give to
// vgpu.Config:
//
//	vgpukit_operations_total{op,result}        result: ok, failed
//	vgpukit_operation_duration_seconds{op}     of operations that succeeded
//	vgpukit_operations_in_progress{op}
//	vgpukit_steps_total{op,step,result}        result: ok, failed, undone, not-undone
//	vgpukit_step_duration_seconds{op,step}     of steps that succeeded
//	vgpukit_steps_in_progress{op}
func NewObserver(reg prometheus.Registerer) vgpu.Observer {
	operations := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vgpukit_operations_total", Help: "Operations of the Manager, by how they ended.",
	}, []string{"op", "result"})
	lasted := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "vgpukit_operation_duration_seconds", Help: "How long operations took that succeeded.",
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
	}, []string{"op"})
	steps := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vgpukit_steps_total", Help: "Steps of operations on VMs, by how they ended.",
	}, []string{"op", "step", "result"})
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "vgpukit_step_duration_seconds", Help: "How long steps took that succeeded.",
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
	}, []string{"op", "step"})
	busy := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "vgpukit_operations_in_progress", Help: "Operations that have begun and not ended.",
	}, []string{"op"})
	stepping := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "vgpukit_steps_in_progress", Help: "Steps that have begun and not ended.",
	}, []string{"op"})
	reg.MustRegister(operations, lasted, busy, steps, took, stepping)
	outcome := func(err error, ok, failed string) string {
		if err != nil {
			return failed
		}
		return ok
	}
	return vgpu.Observer{
		OperationBegun: func(ctx context.Context, op vgpu.Operation) context.Context {
			busy.WithLabelValues(op.Op).Inc()
			return ctx
		},
		OperationEnded: func(_ context.Context, op vgpu.Operation, err error) {
			busy.WithLabelValues(op.Op).Dec()
			operations.WithLabelValues(op.Op, outcome(err, "ok", "failed")).Inc()
			if err == nil {
				lasted.WithLabelValues(op.Op).Observe(op.Took.Seconds())
			}
		},
		StepBegun: func(ctx context.Context, s vgpu.Step) context.Context {
			stepping.WithLabelValues(s.Op).Inc()
			return ctx
		},
		StepEnded: func(_ context.Context, s vgpu.Step, err error) {
			stepping.WithLabelValues(s.Op).Dec()
			steps.WithLabelValues(s.Op, s.Name, outcome(err, "ok", "failed")).Inc()
			if err == nil {
				took.WithLabelValues(s.Op, s.Name).Observe(s.Took.Seconds())
			}
		},
		StepUndone: func(_ context.Context, s vgpu.Step, err error) {
			steps.WithLabelValues(s.Op, s.Name, outcome(err, "undone", "not-undone")).Inc()
		},
	}
}
