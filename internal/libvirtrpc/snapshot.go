package libvirtrpc

// Snapshot is how a snapshot is named.
type Snapshot struct {
	Name string
	Dom  Domain
}

// What procedures about snapshots take and give.
type (
	// SnapshotArgs names the snapshot.
	SnapshotArgs struct {
		Snap  Snapshot
		Flags uint32
	}
	// SnapshotRet is one snapshot.
	SnapshotRet struct{ Snap Snapshot }
	// SnapshotNamesArgs asks for at most so many names.
	SnapshotNamesArgs struct {
		Dom   Domain
		Max   int32
		Flags uint32
	}
	// SnapshotKidNamesArgs is the same for what was made from a snapshot.
	SnapshotKidNamesArgs struct {
		Snap  Snapshot
		Max   int32
		Flags uint32
	}
	// SnapshotListArgs asks for a domain's.
	SnapshotListArgs struct {
		Dom     Domain
		Results int32
		Flags   uint32
	}
	// SnapshotKidsArgs asks for those made from another.
	SnapshotKidsArgs struct {
		Snap    Snapshot
		Results int32
		Flags   uint32
	}
	// SnapshotList lists some.
	SnapshotList struct {
		Snaps []Snapshot
		N     int32
	}
)
