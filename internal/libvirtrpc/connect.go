package libvirtrpc

import "github.com/google/uuid"

// One value is all that many procedures take or give.
type (
	// Void is nothing.
	Void struct{}
	// Number is a count, an identifier, or whether something is so.
	Number struct{ N int32 }
	// Large is a version, or a size.
	Large struct{ N uint64 }
	// Text is a name or a document.
	Text struct{ Text string }
	// Names lists names.
	Names struct{ Names []string }
	// ID is a UUID.
	ID struct{ UUID uuid.UUID }
)

// OpenArgs of [ConnectOpen].
type OpenArgs struct {
	Name  *string
	Flags uint32
}

// The flags of [OpenArgs].
const (
	ReadOnly  = 1 // the connection may change nothing
	NoAliases = 2 // of URIs
)

// AuthTypes that a client may choose from.
type AuthTypes struct{ Types []int32 }

// AuthNone asks for nothing.
const AuthNone = 0

// OptionalText may be absent.
type OptionalText struct{ Text *string }

// NodeInfo is what [NodeGetInfo] gives of a host.
type NodeInfo struct {
	Model   [32]int8
	Memory  uint64 // KiB
	CPUs    int32
	MHz     int32
	Nodes   int32
	Sockets int32
	Cores   int32
	Threads int32
}

// SecurityModel of a host.
type SecurityModel struct{ Model, DOI []int8 }

// ListArgs of the procedures that list all of a kind.
type ListArgs struct {
	Results int32 // 0: only their number is wanted
	Flags   uint32
}

// DomainList is what [ConnectListAllDomains] gives.
type DomainList struct {
	Domains []Domain
	N       uint32
}

// DomainIDs are those of running domains.
type DomainIDs struct{ IDs []int32 }

// XMLArgs is a document with flags.
type XMLArgs struct {
	XML   string
	Flags uint32
}

// RestoreArgs of [DomainRestoreFlags].
type RestoreArgs struct {
	From  string
	XML   *string
	Flags uint32
}
