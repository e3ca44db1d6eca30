// Package placement decides which GPU takes which vGPU, on one host or in a fleet,
// and does nothing.
//
// [NewSnapshot] takes what package mdev reads on each host: what the GPUs run and can
// still take. [Snapshot.Place] finds a place for all vGPUs of one VM by a [Policy] and
// the [Options], or says for each parent why not, in a [Refusal]. [Snapshot.After] is the
// fleet once a placement has come true, so that a control plane can play decisions
// through. A Snapshot is a value that nothing changes, and each answer depends on nothing
// but the snapshot and the question.
//
// The rules are those of the drivers: see [Snapshot.Place].
package placement
