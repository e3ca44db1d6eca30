package vgpu

import (
	"os"
	"time"

	"github.com/google/uuid"
)

// recorded is a line of the log of record: who removed or moved what. JSON names only grow.
type recorded struct {
	Time   time.Time `json:"time"`
	What   string    `json:"what"` // removed, collected, adopted, forgotten, taken over, policy, quarantined
	Op     string    `json:"op"`
	VM     string    `json:"vm,omitempty"`
	UUID   uuid.UUID `json:"uuid,omitzero"`
	Object string    `json:"object,omitempty"` // a vGPU's id, a GPU, a parent
	Detail string    `json:"detail,omitempty"` // a policy, or why
	PID    int       `json:"pid"`
	UID    int       `json:"uid"`
}

// record writes a line of the log of record. What it is about has been done, so that a failure
// is only told.
func (o *operation) record(what, object string) { o.recordDetail(what, object, "") }

func (o *operation) recordDetail(what, object, detail string) {
	err := o.m.store.dir.Record(recorded{
		Time: time.Now().UTC(), What: what, Op: o.op, VM: o.vm, UUID: o.id, Object: object, Detail: detail, PID: os.Getpid(), UID: os.Getuid(),
	})
	if err != nil {
		o.m.log.Warn("the log of record cannot be written", "what", what, "object", object, "err", err)
	}
}
