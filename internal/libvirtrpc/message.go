package libvirtrpc

import (
	"bytes"
	"encoding/binary"
	"io"
)

// The programs that share a connection.
const (
	ProgramRemote    = 0x20008086
	ProgramQEMU      = 0x20008087
	ProgramKeepalive = 0x6b656570

	Version = 1 // of each of them
)

const (
	lengthSize = 4
	headerSize = 24
	// MaxMessage is the most bytes that [Read] and [Write] take for a message with
	// its length, as many as libvirt's own limit was for long.
	MaxMessage = 16 << 20
)

// Type says who sends a message, and why.
type Type int32

// The types of messages that have no file descriptors with them.
const (
	TypeCall    Type = 0
	TypeReply   Type = 1
	TypeMessage Type = 2 // an event, or a sign of life
	TypeStream  Type = 3
)

// Status is how a call went.
type Status int32

// The statuses of a reply.
const (
	StatusOK    Status = 0
	StatusError Status = 1 // the payload is an [Error]
)

// Header begins each message.
type Header struct {
	Program   uint32
	Version   uint32
	Procedure Procedure
	Type      Type
	Serial    uint32 // the caller's number of its call; 0 in a message
	Status    Status
}

// Message is a header with the arguments or the result as they are encoded.
type Message struct {
	Header
	Payload []byte
}

// Read reads one message. An error is the reader's, or matches [ErrMalformed]: then
// where the next message begins is not known.
func Read(r io.Reader) (Message, error) {
	var length [lengthSize]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return Message{}, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n < lengthSize+headerSize || n > MaxMessage {
		return Message{}, malformed("a message cannot have %d bytes", n)
	}
	var body bytes.Buffer // grows with what comes, whatever was announced
	if _, err := io.CopyN(&body, r, int64(n-lengthSize)); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Message{}, err
	}
	var m Message
	if err := Unmarshal(body.Next(headerSize), &m.Header); err != nil {
		return Message{}, err
	}
	m.Payload = body.Bytes()
	return m, nil
}

// Write writes one message whose payload is v, at once.
func Write(w io.Writer, h Header, v any) error {
	b, err := Frame(h, v)
	if err == nil {
		_, err = w.Write(b)
	}
	return err
}

// Frame returns the bytes of a message whose payload is v.
func Frame(h Header, v any) ([]byte, error) {
	head, err := Marshal(h)
	if err != nil {
		return nil, err
	}
	payload, err := Marshal(v)
	if err != nil {
		return nil, err
	}
	n := lengthSize + headerSize + len(payload)
	if n > MaxMessage {
		return nil, malformed("a message cannot have %d bytes", n)
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 0, n), uint32(n))
	return append(append(b, head...), payload...), nil
}
