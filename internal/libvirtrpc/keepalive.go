package libvirtrpc

// The procedures of [ProgramKeepalive].
const (
	Ping Procedure = 1
	Pong Procedure = 2
)

// Keepalive returns the answer to a sign of life; ok is false where none is due.
func Keepalive(h Header) (answer Header, ok bool) {
	if h.Program != ProgramKeepalive || h.Version != Version || h.Type != TypeMessage || h.Procedure != Ping {
		return Header{}, false
	}
	return Header{Program: ProgramKeepalive, Version: Version, Procedure: Pong, Type: TypeMessage}, true
}
