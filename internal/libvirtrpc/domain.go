package libvirtrpc

import "github.com/google/uuid"

// Domain is how a domain is named; ID is -1 while it does not run.
type Domain struct {
	Name string
	UUID uuid.UUID
	ID   int32
}

// What procedures about one domain take and give.
type (
	// DomainArgs names the domain.
	DomainArgs struct{ Dom Domain }
	// FlagArgs is for most procedures.
	FlagArgs struct {
		Dom   Domain
		Flags uint32
	}
	// TextArgs is a path, a document or a name.
	TextArgs struct {
		Dom  Domain
		Text string
	}
	// TextFlagArgs is the same with flags.
	TextFlagArgs struct {
		Dom   Domain
		Text  string
		Flags uint32
	}
	// NumberArgs of [DomainSetAutostart].
	NumberArgs struct {
		Dom Domain
		N   int32
	}
	// SaveArgs of [DomainSaveFlags].
	SaveArgs struct {
		Dom   Domain
		To    string
		XML   *string
		Flags uint32
	}
	// RenameArgs of [DomainRename].
	RenameArgs struct {
		Dom   Domain
		Name  *string
		Flags uint32
	}
	// MetadataArgs of [DomainGetMetadata].
	MetadataArgs struct {
		Dom   Domain
		Type  int32
		URI   *string
		Flags uint32
	}
	// SetMetadataArgs of [DomainSetMetadata].
	SetMetadataArgs struct {
		Dom      Domain
		Type     int32
		Metadata *string
		Key      *string
		URI      *string
		Flags    uint32
	}
)

// Info is what [DomainGetInfo] gives.
type Info struct {
	State     uint8
	MaxMemory uint64 // KiB
	Memory    uint64 // KiB
	CPUs      uint16
	CPUTime   uint64 // ns
}

// State is what [DomainGetState] gives.
type State struct{ State, Reason int32 }

// Control is what [DomainGetControlInfo] gives.
type Control struct {
	State, Details uint32
	Since          uint64 // ms
}

// SecurityLabel of a domain.
type SecurityLabel struct {
	Label     []int8
	Enforcing int32
}

// SecurityLabels are all of a domain.
type SecurityLabels struct {
	Labels []SecurityLabel
	N      int32
}

// Messages are what [DomainGetMessages] gives.
type Messages struct{ Messages []string }
