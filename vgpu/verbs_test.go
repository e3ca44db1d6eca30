package vgpu

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vgpukit/vgpukit/domain"
)

// The Manager's verbs, as the model calls them.

func is(states ...State) func(VM, error) bool {
	return func(v VM, err error) bool { return err == nil && slices.Contains(states, v.State) }
}

func provisionVerb(doc string, typ string, n int, life Lifetime) verb {
	req := ProvisionRequest{Domain: doc, Lifetime: life}
	for range n {
		req.VGPUs = append(req.VGPUs, Request{Type: typ})
	}
	parsed, err := domain.Parse([]byte(doc))
	if err != nil {
		panic(err)
	}
	return verb{
		op: opProvision, vm: parsed.Name(), doc: doc, what: fmt.Sprintf("provision %s %s %d %s", parsed.Name(), typ, n, life),
		do: func(ctx context.Context, m *Manager) error {
			vm, err := m.Provision(ctx, req)
			if id, ok := parsed.UUID(); err == nil && ok && vm.UUID != id {
				panic(fmt.Sprintf("the VM %s was asked for, and it gave %s", id, vm.UUID))
			}
			return err
		},
		reached: func(v VM, err error) bool {
			return err == nil && len(v.VGPUs) == n && (v.State == StateOff || v.State == StateRunning || v.State == StateIncomplete)
		},
	}
}

func startVerb(vm string) verb {
	return verb{op: opStart, vm: vm, what: "start " + vm, reached: is(StateRunning), do: func(ctx context.Context, m *Manager) error {
		_, err := m.Start(ctx, vm, StartOptions{})
		return err
	}}
}

func stopVerb(vm string, opts StopOptions) verb {
	return verb{
		op: opStop, vm: vm, what: fmt.Sprintf("stop %s %+v", vm, opts), do: func(ctx context.Context, m *Manager) error {
			_, err := m.Stop(ctx, vm, opts)
			return err
		},
		reached: func(v VM, err error) bool {
			return is(StateOff, StateIncomplete, StateAbsent)(v, err) || errors.Is(err, ErrNotFound) // a transient one
		},
	}
}

func teardownVerb(vm string, opts StopOptions) verb {
	return verb{
		op: opTeardown, vm: vm, what: fmt.Sprintf("teardown %s %+v", vm, opts), do: func(ctx context.Context, m *Manager) error {
			return m.Teardown(ctx, vm, TeardownOptions{Stop: opts, Undefine: domain.UndefineOptions{SnapshotsMetadata: true}})
		},
		reached: func(_ VM, err error) bool { return errors.Is(err, ErrNotFound) },
	}
}

func adoptVerb(vm string, opts AdoptOptions) verb {
	return verb{
		op: opAdopt, vm: vm, what: fmt.Sprintf("adopt %s %+v", vm, opts), dry: opts.DryRun, do: func(ctx context.Context, m *Manager) error {
			_, err := m.Adopt(ctx, vm, opts)
			return err
		},
		reached: func(v VM, err error) bool { return err == nil && (opts.DryRun || len(v.VGPUs) > 0) },
	}
}

func adoptAllVerb(opts AdoptOptions) verb {
	return verb{op: opAdopt, what: fmt.Sprintf("adopt all %+v", opts), dry: opts.DryRun, do: func(ctx context.Context, m *Manager) error {
		_, err := m.AdoptAll(ctx, opts)
		return err
	}}
}

func forgetVerb(vm string) verb {
	return verb{
		op: opForget, vm: vm, what: "forget " + vm, do: func(ctx context.Context, m *Manager) error { return m.Forget(ctx, vm) },
		reached: func(v VM, err error) bool {
			return errors.Is(err, ErrNotFound) || len(v.VGPUs) == 0 && len(v.Drift) == 0
		},
	}
}

func updateVerb(vm string, opts UpdateOptions) verb {
	return verb{
		op: opUpdate, vm: vm, what: fmt.Sprintf("update %s %+v", vm, opts), do: func(ctx context.Context, m *Manager) error {
			_, err := m.Update(ctx, vm, opts)
			return err
		},
		reached: func(v VM, err error) bool { return err == nil && len(v.Drift) == 0 },
	}
}

// try is call, and sees that what it says that it reached is so.
func (m *model) try(s *site, v verb, decide func(access) fate) (dead, faulted bool, err error) {
	m.t.Helper()
	dead, faulted, err = m.call(s, v, decide)
	if err == nil && !dead && v.reached != nil {
		vm, err := s.m.Status(context.Background(), m.called)
		if !v.reached(vm, err) {
			m.violated("%s said that it was done: %+v %v", v.what, vm, err)
		}
	}
	m.demand()
	return dead, faulted, err
}
