// Package prometheus counts and times what a vgpu.Manager does.
package prometheus

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/vgpukit/vgpukit/vgpu"
)

// NewObserver registers its metrics and returns the observer to give to
// vgpu.Config:
//
//	vgpukit_steps_total{op,step,result}      result: ok, failed, undone, not-undone
//	vgpukit_step_duration_seconds{op,step}   of steps that succeeded
//	vgpukit_steps_in_progress{op}
func NewObserver(reg prometheus.Registerer) vgpu.Observer {
	steps := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vgpukit_steps_total", Help: "Steps of operations on VMs, by how they ended.",
	}, []string{"op", "step", "result"})
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "vgpukit_step_duration_seconds", Help: "How long steps took that succeeded.",
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
	}, []string{"op", "step"})
	busy := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "vgpukit_steps_in_progress", Help: "Steps that have begun and not ended.",
	}, []string{"op"})
	reg.MustRegister(steps, took, busy)
	result := func(s vgpu.Step, what string) { steps.WithLabelValues(s.Op, s.Name, what).Inc() }
	return vgpu.Observer{
		Begun: func(s vgpu.Step) { busy.WithLabelValues(s.Op).Inc() },
		Ended: func(s vgpu.Step) {
			busy.WithLabelValues(s.Op).Dec()
			took.WithLabelValues(s.Op, s.Name).Observe(s.Took.Seconds())
			result(s, "ok")
		},
		Failed: func(s vgpu.Step, _ error) {
			busy.WithLabelValues(s.Op).Dec()
			result(s, "failed")
		},
		Undone: func(s vgpu.Step, err error) {
			if err != nil {
				result(s, "not-undone")
				return
			}
			result(s, "undone")
		},
	}
}
