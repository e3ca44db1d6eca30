package vgpu

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fullDisks are the ways in which the state directory cannot be written. Removing a file
// needs no room; on a file system that is read-only nothing goes.
var fullDisks = []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS}

// onFullDisk is a process whose state directory cannot be written; die, if not nil, says
// where it ends.
func (r *rig) onFullDisk(errno syscall.Errno, die func(access) fate) *process {
	p := r.launch(func(a access) fate {
		what, place, _ := strings.Cut(a.what, " ")
		ofState := place == vmsDir || place == ownersDir
		switch {
		case ofState && what == "write", ofState && what == "put", ofState && what == "create", ofState && what == "rename" && errno == syscall.EROFS, ofState && what == "remove" && errno == syscall.EROFS:
			return fail
		case die != nil:
			return die(a)
		}
		return live
	})
	p.fault = &fs.PathError{Op: "write", Path: filepath.Join(r.dir, "entry"), Err: errno}
	return p
}

// freeing are the operations that only free things, with the worlds that they begin in.
var freeing = []journey{
	{"stop", started(2, Reserved), stop},
	{"stop while running", started(2, WhileRunning), stop},
	{"teardown of one that is off", provisioned(2, Reserved), teardown},
	{"teardown of one that runs", started(2, Reserved), teardown},
	{"teardown while running", started(2, WhileRunning), teardown},
	{"teardown after a stop that died", died(started(2, WhileRunning), stop, 1), teardown},
	{"stop after a stop that died", died(started(2, WhileRunning), stop, 1), stop},
	{"reconcile a VM that crashed", func(r *rig, typ string) {
		started(2, WhileRunning)(r, typ)
		require.NoError(r.t, r.hyper.Crash(context.Background(), "vm"))
	}, reconcile},
}

// TestFreesOnAFullDisk: what only frees things does so when the state directory cannot be
// written, as completely as ever; only what is remembered of the VM may be left on a
// read-only one, and that is told. Reconcile then finds nothing to do, or that.
func TestFreesOnAFullDisk(t *testing.T) {
	for _, b := range everyBoard {
		for _, j := range freeing {
			for _, errno := range fullDisks {
				t.Run(fmt.Sprint(b.board, " ", j.name, " ", errno), func(t *testing.T) {
					t.Parallel()
					do := func(ctx context.Context, m *Manager) error { return j.do(ctx, m, b.typ) }
					model := newRig(t, b.board)
					stranger(model, b.typ)
					j.setup(model, b.typ)
					require.NoError(t, do(t.Context(), model.m))
					after := model.picture()

					r := newRig(t, b.board)
					stranger(r, b.typ)
					j.setup(r, b.typ)
					err, _ := r.onFullDisk(errno, nil).run(do)
					remembered := strings.HasPrefix(j.name, "teardown") || strings.HasSuffix(j.name, "died") // a claim, or an older intent
					if errno == syscall.EROFS && remembered {
						require.ErrorIs(t, err, errno)
						if strings.HasPrefix(j.name, "teardown") {
							require.ErrorContains(t, err, "the VM and its vGPUs are gone")
						}
						require.Equal(t, withoutMemory(after), withoutMemory(r.picture()), "%v", err)
						r.settled()
					} else {
						require.NoError(t, err)
					}
					require.Equal(t, after, r.picture())
					r.settled()
					require.Equal(t, after, r.picture())
				})
			}
		}
	}
}

// withoutMemory is a picture without grants, operations and owners.
func withoutMemory(picture string) string {
	var kept []string
	for line := range strings.Lines(picture) {
		word, _, _ := strings.Cut(line, " ")
		if word != "grant" && word != "granted" && word != "owner" && word != vmsDir {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// TestReadOnlyForgets: a teardown that could not forget the VM says that all else was
// done.
func TestReadOnlyForgets(t *testing.T) {
	r := newRig(t, "mtty")
	before := withoutMemory(r.picture())
	r.provisionVM("mtty-1", Reserved)
	err, _ := r.onFullDisk(syscall.EROFS, nil).run(func(ctx context.Context, m *Manager) error { return teardown(ctx, m, "") })
	require.ErrorIs(t, err, syscall.EROFS)
	require.ErrorIs(t, err, ErrUnavailable)
	assert.ErrorContains(t, err, "the VM and its vGPUs are gone")
	assert.Contains(t, Hint(err), r.dir)
	assert.Equal(t, before, withoutMemory(r.picture()))
}

// TestMakesNothingOnAFullDisk: what makes things is refused before anything is touched,
// with the reason.
func TestMakesNothingOnAFullDisk(t *testing.T) {
	for _, b := range everyBoard {
		for _, j := range []journey{
			{"provision", func(*rig, string) {}, provision(1, Reserved)},
			{"start", provisioned(1, Reserved), start},
			{"start while running", provisioned(1, WhileRunning), start},
		} {
			for _, errno := range fullDisks {
				t.Run(fmt.Sprint(b.board, " ", j.name, " ", errno), func(t *testing.T) {
					r := newRig(t, b.board)
					j.setup(r, b.typ)
					before := r.picture()
					err, _ := r.onFullDisk(errno, nil).run(func(ctx context.Context, m *Manager) error { return j.do(ctx, m, b.typ) })
					require.ErrorIs(t, err, errno)
					require.ErrorIs(t, err, ErrUnavailable)
					require.Equal(t, before, r.picture())
					r.settled()
				})
			}
		}
	}
}

// TestDiesOnAFullDisk: a process that is killed at any change while it frees things on a
// full disk leaves what one Reconcile settles: the VM is as it was, off, or gone with all
// that it had, and can be torn down.
func TestDiesOnAFullDisk(t *testing.T) {
	for _, b := range everyBoard {
		for _, j := range freeing {
			t.Run(fmt.Sprint(b.board, " ", j.name), func(t *testing.T) {
				t.Parallel()
				do := func(ctx context.Context, m *Manager) error { return j.do(ctx, m, b.typ) }
				world := func() *rig {
					r := newRig(t, b.board)
					stranger(r, b.typ)
					return r
				}
				empty := world().picture()
				whole := world()
				j.setup(whole, b.typ)
				count := whole.onFullDisk(syscall.ENOSPC, nil)
				err, _ := count.run(do)
				require.NoError(t, err)
				for k := range count.changes {
					for _, how := range []fate{dieBefore, dieAfter} {
						r := world()
						j.setup(r, b.typ)
						p := r.onFullDisk(syscall.ENOSPC, func(a access) fate { return when(a.change == k+1, how) })
						err, dead := p.run(do)
						if !dead {
							require.NoError(t, err) // a write of the state directory, which fails before it could die
						}
						r.settled()
						if _, err := r.hyper.Info(t.Context(), "vm"); err == nil {
							require.NoError(t, r.m.Teardown(t.Context(), "vm", TeardownOptions{Stop: quickStop}))
						}
						require.Equal(t, empty, r.picture(), "%s at change %d: %s", how, k+1, p.last.what)
					}
				}
			})
		}
	}
}
