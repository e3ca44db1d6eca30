//go:build cgo

package virt

import (
	"context"
	"time"

	"libvirt.org/go/libvirt"
)

// Job is a long operation on a VM: a save, a migration, a snapshot.
type Job struct {
	Active    bool          `json:"active"`          // false: no job is under way
	Operation string        `json:"operation"`       // "start", "save", "restore", "migration-in", "migration-out", "snapshot", "dump", "backup", …
	Elapsed   time.Duration `json:"elapsed_ns"`      // since its start
	Total     uint64        `json:"total_bytes"`     // bytes to move, as known so far; 0: unknown
	Processed uint64        `json:"processed_bytes"` // bytes moved
	Remaining uint64        `json:"remaining_bytes"` // bytes left; may grow while the guest writes to its memory
	VFIO      uint64        `json:"vfio_bytes"`      // bytes of device state of vGPUs among those moved, where QEMU tells
}

// operations is by virDomainJobOperation.
var operations = []string{
	"unknown", "start", "save", "restore", "migration-in", "migration-out",
	"snapshot", "snapshot-revert", "dump", "backup", "snapshot-delete",
}

// JobInfo describes the job that is under way.
func (c *Conn) JobInfo(ctx context.Context, vm string) (Job, error) {
	return onDomain(ctx, c, "look at the job of", vm, reads, func(_ *link, d *libvirt.Domain) (Job, error) {
		stats, err := d.GetJobStats(0)
		if err != nil {
			return Job{}, err
		}
		return Job{
			Active:    stats.Type == libvirt.DOMAIN_JOB_BOUNDED || stats.Type == libvirt.DOMAIN_JOB_UNBOUNDED,
			Operation: jobOperation(stats),
			Elapsed:   time.Duration(stats.TimeElapsed) * time.Millisecond,
			Total:     stats.DataTotal,
			Processed: stats.DataProcessed,
			Remaining: stats.DataRemaining,
			VFIO:      stats.VFIODataTransferred,
		}, nil
	})
}

// AbortJob asks libvirt to abort the VM's job; whoever runs it gets
// libvirt.ERR_OPERATION_ABORTED. Near its end the job may complete all the same.
// [domain.ErrState]: there is none, or it cannot be aborted.
func (c *Conn) AbortJob(ctx context.Context, vm string) error {
	return doDomain(ctx, c, "abort the job of", vm, writes, func(_ *link, d *libvirt.Domain) error { return d.AbortJob() })
}

func jobOperation(info *libvirt.DomainJobInfo) string {
	if i := int(info.Operation); info.OperationSet && i >= 0 && i < len(operations) {
		return operations[i]
	}
	return operations[0]
}

// jobOutcome is an event's detail: "save completed", "migration-out failed".
func jobOutcome(info *libvirt.DomainJobInfo) string {
	outcome := "completed"
	switch {
	case info.Type == libvirt.DOMAIN_JOB_CANCELLED:
		outcome = "cancelled"
	case info.Type == libvirt.DOMAIN_JOB_FAILED, info.JobSuccessSet && !info.JobSuccess:
		outcome = "failed"
	}
	return jobOperation(info) + " " + outcome
}
