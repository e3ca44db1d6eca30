// Package libvirtrpc is the wire form of libvirt's remote protocol: its framing, its
// XDR encoding, and the arguments and results of the procedures that are used here.
//
// The protocol is described in libvirt's virnetprotocol.x and remote_protocol.x. A
// message is a length, a [Header], and what the procedure takes or gives, in [XDR].
// Nothing that a peer sends makes the package panic, or reserve more memory than was
// sent times a small factor.
//
// [XDR]: https://www.rfc-editor.org/rfc/rfc4506
package libvirtrpc
