package vgputest

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	rpc "github.com/vgpukit/vgpukit/internal/libvirtrpc"
)

// The kinds and operations of jobs that there are here (virDomainJobType and
// virDomainJobOperation).
const (
	jobNone      = 0
	jobUnbounded = 2
	jobCompleted = 3

	operationSave = 2

	saveFlags = 1 << 0 // for another cache

	jobStatsCompleted = 1 << 0
	jobStatsKeep      = 1 << 1
)

var errAborted = errors.New("aborted")

// jobs are the saves under way, and those that ended last.
type jobs map[uuid.UUID]*job

type job struct {
	began time.Time
	took  time.Duration // 0: it is under way
	abort context.CancelCauseFunc
}

func (c *client) save(ctx context.Context, a *rpc.SaveArgs) (rpc.Void, error) {
	err := checkFlags(a.Flags, saveFlags, "qemuDomainSaveFlags")
	if err == nil && text(a.XML) != "" {
		err = refuse(codeArgumentUnsupported, domain.ErrUnsupported, "argument unsupported: a document cannot be given to a save here")
	}
	if err == nil {
		err = c.job(ctx, a.Dom, func(ctx context.Context) error { return c.h.Save(ctx, handleOf(a.Dom), a.To) })
	}
	return rpc.Void{}, err
}

func (c *client) savePlain(ctx context.Context, a *rpc.TextArgs) (rpc.Void, error) {
	return c.save(ctx, &rpc.SaveArgs{Dom: a.Dom, To: a.Text})
}

func (c *client) managedSave(ctx context.Context, a *rpc.FlagArgs) (rpc.Void, error) {
	err := checkFlags(a.Flags, saveFlags, "qemuDomainManagedSave")
	if err == nil {
		err = c.job(ctx, a.Dom, func(ctx context.Context) error { return c.h.ManagedSave(ctx, handleOf(a.Dom)) })
	}
	return rpc.Void{}, err
}

func (c *client) hasManagedSave(ctx context.Context, a *rpc.FlagArgs) (rpc.Number, error) {
	has, err := c.h.HasManagedSave(ctx, handleOf(a.Dom))
	return number(has), err
}

func (c *client) managedSaveRemove(ctx context.Context, a *rpc.FlagArgs) (rpc.Void, error) {
	return rpc.Void{}, c.h.ManagedSaveRemove(ctx, handleOf(a.Dom))
}

func (c *client) restore(ctx context.Context, a *rpc.RestoreArgs) (rpc.Void, error) {
	err := checkFlags(a.Flags, saveFlags, "qemuDomainRestoreFlags")
	if err == nil {
		err = c.h.Restore(ctx, a.From, text(a.XML))
	}
	return rpc.Void{}, err
}

func (c *client) restorePlain(ctx context.Context, a *rpc.Text) (rpc.Void, error) {
	return c.restore(ctx, &rpc.RestoreArgs{From: a.Text})
}

// job runs a save so that clients can look at it and abort it.
func (c *client) job(ctx context.Context, d rpc.Domain, do func(context.Context) error) error {
	s := c.server
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	j := &job{began: time.Now(), abort: cancel}
	s.mu.Lock()
	if first := s.jobs[d.UUID]; first == nil || first.took > 0 {
		s.jobs[d.UUID] = j
	}
	s.mu.Unlock()
	err := do(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.took = max(time.Since(j.began), 1); err == nil {
		s.jobs[d.UUID] = j
	} else if s.jobs[d.UUID] == j {
		delete(s.jobs, d.UUID)
	}
	if err != nil && context.Cause(ctx) == errAborted {
		return refuse(codeAborted, domain.ErrState, "operation aborted: job 'domain save' canceled by client")
	}
	return err
}

// jobOf returns the job under way, or the one that ended, nil if there is none.
func (s *server) jobOf(d rpc.Domain, ended bool) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.jobs[d.UUID]; j != nil && (j.took > 0) == ended {
		return &job{j.began, j.took, j.abort}
	}
	return nil
}

// activeJob is jobOf for a VM that must run.
func (c *client) activeJob(ctx context.Context, d rpc.Domain) (*job, error) {
	err := whileActive(ctx, c.h.Virsh(), "Info", handleOf(d), func(*machine) error { return nil })
	if err != nil {
		return nil, err
	}
	return c.server.jobOf(d, false), nil
}

func (c *client) jobStats(ctx context.Context, a *rpc.FlagArgs) (rpc.JobStats, error) {
	if err := checkFlags(a.Flags, jobStatsCompleted|jobStatsKeep, "qemuDomainGetJobStats"); err != nil {
		return rpc.JobStats{}, err
	}
	if a.Flags&jobStatsCompleted != 0 {
		if j := c.server.jobOf(a.Dom, true); j != nil {
			return rpc.JobStats{Type: jobCompleted, Params: j.params(j.took)}, nil
		}
		return rpc.JobStats{Type: jobNone}, nil
	}
	j, err := c.activeJob(ctx, a.Dom)
	if j == nil {
		return rpc.JobStats{Type: jobNone}, err
	}
	return rpc.JobStats{Type: jobUnbounded, Params: j.params(time.Since(j.began))}, nil
}

func (j *job) params(elapsed time.Duration) []rpc.Param {
	return []rpc.Param{{Field: "operation", Value: int32(operationSave)}, {Field: "time_elapsed", Value: uint64(elapsed.Milliseconds())}}
}

func (c *client) jobInfo(ctx context.Context, a *rpc.DomainArgs) (rpc.JobInfo, error) {
	j, err := c.activeJob(ctx, a.Dom)
	if j == nil {
		return rpc.JobInfo{Type: jobNone}, err
	}
	return rpc.JobInfo{Type: jobUnbounded, Elapsed: uint64(time.Since(j.began).Milliseconds())}, nil
}

func (c *client) abortJob(ctx context.Context, a *rpc.FlagArgs) (rpc.Void, error) {
	if err := checkFlags(a.Flags, 0, "qemuDomainAbortJobFlags"); err != nil {
		return rpc.Void{}, err
	}
	j, err := c.activeJob(ctx, a.Dom)
	if err == nil && j == nil {
		err = wrongState("no job is active on the domain")
	}
	if err == nil {
		j.abort(errAborted)
	}
	return rpc.Void{}, err
}
