package vgpu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

var everyKind = []error{
	ErrInvalid, ErrNotFound, ErrExists, ErrInUse, ErrNoCapacity, ErrBusy, ErrState,
	ErrPermission, ErrUnsupported, ErrRefused, ErrUnavailable,
}

var (
	separator = regexp.MustCompile(`: |; |\(|\)|, `)
	blank     = regexp.MustCompile(`: :|: ;|; ;|\(\)|: $|; $|  `)
)

// readable checks what is promised of errors: one is one line that begins with operation and VM, is
// of one kind, says nothing twice, and travels.
func readable(t *testing.T, err error, op, vm, at string) {
	t.Helper()
	var e *Error
	require.True(t, errors.As(err, &e) && error(e) == err, "%s: not the package's: %T %v", at, err, err)
	text := err.Error()
	require.NotContains(t, text, "\n", at)
	require.Empty(t, blank.FindString(text), "%s: an empty part: %q", at, text)
	if vm == "" { // of the whole host, what failed on one VM names that
		require.True(t, strings.HasPrefix(text, op), "%s: the operation comes first: %q", at, text)
	} else {
		require.True(t, strings.HasPrefix(text, op+" "+vm+": "), "%s: operation and VM come first: %q", at, text)
	}
	require.Equal(t, []string{op, vm}, []string{e.Op, e.VM}, at)

	kinds := 0
	for _, kind := range everyKind {
		if errors.Is(err, kind) {
			kinds++
			require.Equal(t, kind, KindOf(err), at)
		}
	}
	if kinds == 0 { // nothing but the end of a context explains it
		require.Equal(t, fault.EndOf(err), KindOf(err), "%s: no kind: %q", at, text)
		kinds++
	}
	require.Equal(t, 1, kinds, "%s: of several kinds: %q", at, text)

	said := map[string]bool{}
	for _, part := range separator.Split(text, -1) {
		part = strings.TrimSpace(part)
		require.False(t, part != "" && said[part], "%s: %q is said twice: %q", at, part, text)
		said[part] = true
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" :;,()", r) })
	phrases := map[string]bool{}
	for i := range max(0, len(words)-3) {
		phrase := strings.Join(words[i:i+4], " ")
		require.False(t, phrases[phrase], "%s: %q is said twice: %q", at, phrase, text)
		phrases[phrase] = true
	}

	data, failed := json.Marshal(err)
	require.NoError(t, failed, at)
	var back Error
	require.NoError(t, json.Unmarshal(data, &back), at)
	same(t, err, &back, at)
}

// same checks that an error that travelled is as the one that was sent.
func same(t *testing.T, sent, got error, at string) {
	t.Helper()
	require.Equal(t, fault.Text(sent), got.Error(), at)
	require.Equal(t, KindOf(sent), KindOf(got), at)
	require.Equal(t, Hint(sent), Hint(got), at)
	for _, kind := range everyKind {
		require.Equal(t, errors.Is(sent, kind), errors.Is(got, kind), "%s: %v", at, kind)
	}
	for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
		require.Equal(t, fault.EndOf(sent) == end, fault.EndOf(got) == end, "%s: %v", at, end)
	}
	var want, have syscall.Errno
	require.Equal(t, errors.As(sent, &want), errors.As(got, &have), at)
	require.Equal(t, want, have, at)
	require.Equal(t, want != 0, want != 0 && errors.Is(got, want), at)
	again, err := json.Marshal(got)
	require.NoError(t, err)
	var further Error
	require.NoError(t, json.Unmarshal(again, &further))
	require.Equal(t, got, error(&further), "%s: on its next way", at)
}

// TestEveryStepFails makes every step of every operation fail, for reasons that
// libvirt, the kernel and the disk have (one drawn by lot; each if VGPUKIT_POINTS is
// "all"), and reads each error.
func TestEveryStepFails(t *testing.T) {
	libvirt := func(kind error) error {
		return &domain.Error{Op: "ask", Object: "vm", Kind: kind, Meaning: "libvirt will not", Cause: "it has its reasons", Next: "ask it why"}
	}
	faults := []error{
		errFault,
		&fs.PathError{Op: "write", Path: "somewhere", Err: syscall.ENOSPC},
		&fs.PathError{Op: "open", Path: "somewhere", Err: syscall.EACCES},
		libvirt(domain.ErrInUse),
		libvirt(domain.ErrState),
		libvirt(domain.ErrUnavailable),
		errors.New("this\nand that"),
		context.DeadlineExceeded,
	}
	lot, all := int(seeded(t)%8), os.Getenv("VGPUKIT_POINTS") == "all"
	for _, b := range everyBoard {
		for _, j := range journeys {
			t.Run(b.board+" "+j.name, func(t *testing.T) {
				t.Parallel() // most of it waits
				steps := j.failAtStep(t, b.board, b.typ, 0, nil)
				require.NotZero(t, steps)
				for step := 1; step <= steps; step++ {
					for i, err := range faults {
						if all || (i+step+lot)%8 == 0 {
							j.failAtStep(t, b.board, b.typ, step, err)
						}
					}
				}
			})
		}
	}
}

// failAtStep runs the journey with what the n-th step does failing, reads the error,
// and returns how many steps there were.
func (j journey) failAtStep(t *testing.T, board, typ string, n int, with error) (steps int) {
	r := newRig(t, board)
	stranger(r, typ)
	j.setup(r, typ)
	failing := false
	p := r.launch(func(access) fate { return when(failing, fail) })
	p.fault = with
	var at Step
	p.m.observer = Observer{
		StepBegun: func(ctx context.Context, s Step) context.Context {
			if steps++; steps == n {
				failing, at = true, s
			}
			return ctx
		},
		StepEnded: func(_ context.Context, s Step, _ error) {
			if failing && s.Name == at.Name && s.Object == at.Object {
				failing = false
			}
		},
		OperationEnded: func(_ context.Context, op Operation, err error) {
			if err != nil {
				readable(t, err, op.Op, op.VM, fmt.Sprintf("%s, step %s %s, %v", j.name, at.Name, at.Object, with))
			}
		},
	}
	err, _ := p.run(func(ctx context.Context, m *Manager) error { return j.do(ctx, m, typ) })
	if n == 0 {
		require.NoError(t, err)
	}
	return steps
}

// TestRefusalsAreReadable: so are the errors of what is refused before anything is
// touched.
func TestRefusalsAreReadable(t *testing.T) {
	r := newRig(t, "tesla-m60")
	id := uuid.New()
	for name, change := range map[string]func(*ProvisionRequest){
		"not XML":           func(q *ProvisionRequest) { q.Domain = "<domain" },
		"no type":           func(q *ProvisionRequest) { q.VGPUs[0].Type = "" },
		"no such type":      func(q *ProvisionRequest) { q.VGPUs[0].Type = "GRID M60-7Q" },
		"no such parent":    func(q *ProvisionRequest) { q.VGPUs[0].Parent = "0000:99:00.0" },
		"bad address":       func(q *ProvisionRequest) { q.VGPUs[0].Address = "8" },
		"address in use":    func(q *ProvisionRequest) { q.VGPUs[0].Address = "0000:00:00.0" },
		"bad parameter":     func(q *ProvisionRequest) { q.VGPUs[0].Params = []mdev.Param{{Name: "../x"}} },
		"a life time":       func(q *ProvisionRequest) { q.Lifetime = "long" },
		"none":              func(q *ProvisionRequest) { q.VGPUs = nil },
		"too many":          func(q *ProvisionRequest) { q.VGPUs = make([]Request, 17) },
		"two of one UUID":   func(q *ProvisionRequest) { q.VGPUs[0].UUID = id; q.VGPUs = append(q.VGPUs, q.VGPUs[0]) },
		"never together":    func(q *ProvisionRequest) { q.VGPUs = append(q.VGPUs, q.VGPUs[0]) },
		"ramfb, no display": func(q *ProvisionRequest) { q.VGPUs[0].RAMFB = domain.SwitchOn },
	} {
		req := request("vm", "GRID M60-2Q", 1)
		change(&req)
		vm := "vm"
		if name == "not XML" {
			vm = ""
		}
		_, err := r.m.Provision(t.Context(), req)
		require.Error(t, err, name)
		readable(t, err, opProvision, vm, name)
		assert.NotEmpty(t, Hint(err), "%s: %v", name, err)
		_, err = r.m.Plan(t.Context(), req)
		readable(t, err, opPlan, vm, name)
	}
}

// TestEveryParentRefuses: what several GPUs said is told together.
func TestEveryParentRefuses(t *testing.T) {
	r := newRig(t, "tesla-m60")
	r.sim.Fail(mdevtest.Fault{Path: "create"})
	_, err := r.m.Provision(t.Context(), request("web1", "GRID M60-4Q", 1))
	readable(t, err, opProvision, "web1", "EIO")
	require.ErrorIs(t, err, ErrNoCapacity)
	require.ErrorIs(t, err, syscall.EIO)
	assert.Equal(t, "provision web1: create GRID M60-4Q: 2 GPUs refused (EIO): 0000:05:00.0, 0000:06:00.0; "+
		"the GPU has no room for this type beside what it runs, or its vGPU manager is not ready", err.Error())
	assert.Equal(t, "compare with what the GPU runs (same framebuffer size), and see the kernel log (dmesg)", Hint(err))
}

// TestNoParentIsLeft: a vGPU whose only parents went to other vGPUs of the VM is
// refused like any other.
func TestNoParentIsLeft(t *testing.T) {
	err := (&operation{op: opStart, vm: "web1"}).wrap("create", "NVIDIA L40S-4Q", refusals{}.error())
	readable(t, err, opStart, "web1", "none")
	assert.ErrorIs(t, err, ErrNoCapacity)
	assert.NotEmpty(t, Hint(err))
}
