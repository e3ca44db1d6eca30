package libvirtrpc

import "github.com/google/uuid"

// The error codes of libvirt that the protocol's own part needs (virErrorNumber).
const (
	CodeInternal    = 1
	CodeNoSupport   = 3
	CodeInvalidArg  = 8
	CodeDenied      = 29 // read-only connection
	CodeRPC         = 39
	CodeUnsupported = 74 // the argument is not supported
)

// The parts of libvirt that an error can come from (virErrorDomain).
const (
	FromRPC    = 7
	FromQEMU   = 10
	FromRemote = 13
	FromDomain = 20
)

// levelError is virErrorLevel's worst.
const levelError = 2

// Error is how libvirt tells of an error. Nil strings and what is unused by now are
// absent in what libvirt sends as well.
type Error struct {
	Code    int32
	Domain  int32 // which part of libvirt
	Message *string
	Level   int32
	Dom     *Domain
	Str1    *string
	Str2    *string
	Str3    *string
	Int1    int32
	Int2    int32
	Net     *Network
}

// Network is how a network is named; only old errors do.
type Network struct {
	Name string
	UUID uuid.UUID
}

// NewError returns an error as libvirt's daemon sends it: the words are there twice,
// as what to say and as what was put into it.
func NewError(code, from int, message string) *Error {
	format := "%s"
	return &Error{Code: int32(code), Domain: int32(from), Message: &message, Level: levelError, Str1: &format, Str2: &message, Int1: -1, Int2: -1}
}

// Error returns libvirt's words.
func (e *Error) Error() string {
	if e.Message == nil {
		return "no message"
	}
	return *e.Message
}
