package vgputest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	rpc "github.com/vgpukit/vgpukit/internal/libvirtrpc"
)

// TestServeJob: a save that takes its time is seen, and ends when somebody else aborts
// it; then there is no job.
func TestServeJob(t *testing.T) {
	h := newWorld(t)
	require.NoError(t, h.Start(t.Context(), "web1"))
	began := make(chan struct{})
	undo := h.Fail(Fault{Method: "Save", Do: func(ctx context.Context, _ Call) error {
		close(began)
		<-ctx.Done()
		return ctx.Err()
	}})
	socket, _ := serveAt(t, h)
	saver, other := dial(t, socket, 0), dial(t, socket, 0)
	var info rpc.JobInfo
	other.must(rpc.DomainGetJobInfo, rpc.DomainArgs{Dom: web}, &info)
	assert.EqualValues(t, jobNone, info.Type)

	serial := saver.begin(rpc.DomainSave, rpc.TextArgs{Dom: web, Text: "/saved"})
	<-began
	other.must(rpc.DomainGetJobInfo, rpc.DomainArgs{Dom: web}, &info)
	assert.EqualValues(t, jobUnbounded, info.Type)
	var stats rpc.JobStats
	other.must(rpc.DomainGetJobStats, rpc.FlagArgs{Dom: web}, &stats)
	assert.EqualValues(t, jobUnbounded, stats.Type)
	assert.Contains(t, stats.Params, rpc.Param{Field: "operation", Value: int32(operationSave)})
	other.must(rpc.DomainAbortJob, rpc.DomainArgs{Dom: web}, &rpc.Void{})
	_, err := saver.reply(rpc.DomainSave, serial)
	require.EqualError(t, err, "operation aborted: job 'domain save' canceled by client")
	assert.EqualValues(t, codeAborted, err.Code)
	require.EqualError(t, other.outcome(rpc.DomainAbortJob, rpc.DomainArgs{Dom: web}), "Requested operation is not valid: no job is active on the domain")
	var state rpc.State
	other.must(rpc.DomainGetState, rpc.FlagArgs{Dom: web}, &state)
	assert.EqualValues(t, 1, state.State, "the VM goes on")
	undo()
	saver.must(rpc.DomainSave, rpc.TextArgs{Dom: web, Text: "/saved"}, &rpc.Void{})
	other.must(rpc.DomainGetJobStats, rpc.FlagArgs{Dom: web, Flags: jobStatsCompleted}, &stats)
	assert.EqualValues(t, jobCompleted, stats.Type)
}
