//go:build cgo

package virt

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"libvirt.org/go/libvirt"
)

const (
	abortGrace = 10 * time.Second      // for an aborted job to end
	abortPoll  = 50 * time.Millisecond // until the job to abort has begun
	abortAgain = 2 * time.Second       // for QEMU to end it, before it is asked again
)

// Save writes the VM's memory and device state, vGPUs included, to a file on
// the host and stops it. When ctx ends first, the job is aborted and the VM runs
// on; the result says which of the two came true, unless libvirt is silent for
// another 5 s. Where the vGPU's driver cannot save its state:
// [domain.ErrUnsupported].
func (c *Conn) Save(ctx context.Context, vm, path string) error {
	if err := checkPath("save", vm, path); err != nil {
		return err
	}
	return c.saveJob(ctx, "save", vm, func(d *libvirt.Domain) error { return d.SaveFlags(path, "", 0) })
}

// Restore starts the VM in a file written by [Conn.Save]. xml, if not empty,
// replaces its document, for instance to name another vGPU of the same type;
// [Conn.MigratableXML] gives the form to start from. libvirt cannot abort it:
// when ctx ends first, it goes on. The file stays.
func (c *Conn) Restore(ctx context.Context, path, xml string) error {
	object := "file " + quote(path)
	if err := checkPath("restore", object, path); err != nil {
		return err
	}
	if xml != "" {
		if err := checkText("restore", object, "the document", xml); err != nil {
			return err
		}
	}
	return do(ctx, c, "restore", object, acts, func(l *link) error {
		return l.conn.DomainRestoreFlags(path, xml, 0)
	})
}

// ManagedSave is [Conn.Save] to a file that libvirt keeps and that the next
// [Conn.Start] restores.
func (c *Conn) ManagedSave(ctx context.Context, vm string) error {
	return c.saveJob(ctx, "managed save of", vm, func(d *libvirt.Domain) error { return d.ManagedSave(0) })
}

// HasManagedSave tells whether the next start restores the VM's memory.
func (c *Conn) HasManagedSave(ctx context.Context, vm string) (bool, error) {
	return onDomain(ctx, c, "look for a managed save of", vm, reads, func(_ *link, d *libvirt.Domain) (bool, error) {
		return d.HasManagedSaveImage(0)
	})
}

// ManagedSaveRemove throws the saved memory away: the next start boots. It does
// nothing when there is none.
func (c *Conn) ManagedSaveRemove(ctx context.Context, vm string) error {
	return doDomain(ctx, c, "remove the managed save of", vm, writes, func(_ *link, d *libvirt.Domain) error {
		has, err := d.HasManagedSaveImage(0)
		if err != nil || !has {
			return err
		}
		return d.ManagedSaveRemove(0)
	})
}

// saveJob runs save, which libvirt makes a job of, and aborts it when ctx ends.
func (c *Conn) saveJob(ctx context.Context, op, vm string, save func(*libvirt.Domain) error) error {
	if ctx.Err() != nil {
		return c.wrap(op, vm, ended(ctx))
	}
	// Either the job begins or ctx ends, first; it does not begin afterwards.
	var decided atomic.Bool
	waiting, giveUp := context.WithCancelCause(context.WithoutCancel(ctx))
	defer giveUp(nil)
	stop := context.AfterFunc(ctx, func() {
		if !decided.CompareAndSwap(false, true) {
			timer := time.NewTimer(abortGrace)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-waiting.Done():
			}
		}
		giveUp(ended(ctx))
	})
	defer stop()

	return doDomain(waiting, c, op, vm, acts, func(_ *link, d *libvirt.Domain) error {
		if !decided.CompareAndSwap(false, true) {
			return ended(ctx)
		}
		over := make(chan struct{})
		var helper sync.WaitGroup
		helper.Go(func() {
			select {
			case <-ctx.Done():
				c.abortSave(d, over)
			case <-over:
			}
		})
		err := save(d)
		close(over)
		helper.Wait()
		if errors.Is(err, libvirt.ERR_OPERATION_ABORTED) && ctx.Err() != nil {
			e := explain(op, vm, err)
			e.Kind, e.Err = nil, fmt.Errorf("%w: %w", ended(ctx), err)
			e.Meaning, e.Next = "the job was aborted because the context ended; the VM goes on", ""
			return e
		}
		return err
	})
}

// abortSave aborts the save, once it has begun, and again should it go on. It
// looks first whether the job is a save: ours may still wait for somebody's
// migration, which is not to be aborted. One at a time does so, beyond MaxCalls.
func (c *Conn) abortSave(d *libvirt.Domain, over <-chan struct{}) {
	abort := func() bool {
		c.abortMu.Lock()
		defer c.abortMu.Unlock()
		stats, err := d.GetJobStats(0)
		return err == nil && stats.OperationSet && stats.Operation == libvirt.DOMAIN_JOB_OPERATION_SAVE && d.AbortJob() == nil
	}
	for {
		pause := abortPoll
		if abort() {
			pause = abortAgain
		}
		timer := time.NewTimer(pause)
		select {
		case <-over:
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

func checkPath(op, object, path string) error {
	if err := checkText(op, object, "the path", path); err != nil {
		return err
	}
	if !filepath.IsAbs(path) {
		return invalid(op, object, "the path "+quote(path)+" is relative", "give an absolute path on the VM's host")
	}
	return nil
}
