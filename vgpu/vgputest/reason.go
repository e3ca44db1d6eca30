package vgputest

// reason is why a VM is in its state: a number of libvirt's virDomain…Reason, which
// depends on the state.
type reason int

const (
	runningBooted       reason = 1
	runningRestored     reason = 3
	runningFromSnapshot reason = 4
	runningUnpaused     reason = 5

	pausedByUser       reason = 1
	pausedFromSnapshot reason = 7

	offUnknown   reason = 0
	offShutdown  reason = 1
	offDestroyed reason = 2
	offCrashed   reason = 3
	offSaved     reason = 5
	offFailed    reason = 6
	offSnapshot  reason = 7
)
