package libvirtrpc

// JobInfo is what [DomainGetJobInfo] gives.
type JobInfo struct {
	Type                                int32
	Elapsed, Left                       uint64 // ms
	Total, Processed, Remaining         uint64
	MemTotal, MemProcessed, MemLeft     uint64
	FilesTotal, FilesProcessed, FilesTo uint64
}

// JobStats is what [DomainGetJobStats] gives.
type JobStats struct {
	Type   int32
	Params []Param
}
