package vgputest

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	rpc "github.com/vgpukit/vgpukit/internal/libvirtrpc"
)

// caller is a client that may do what libvirt's does not.
type caller struct {
	t      testing.TB
	conn   net.Conn
	serial uint32
}

func dial(t testing.TB, socket string, flags uint32) *caller {
	conn, err := net.Dial("unix", socket)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	c := &caller{t: t, conn: conn}
	c.must(rpc.ConnectOpen, rpc.OpenArgs{Flags: flags}, &rpc.Void{})
	return c
}

func (c *caller) begin(p rpc.Procedure, args any) (serial uint32) {
	c.serial++
	h := rpc.Header{Program: rpc.ProgramRemote, Version: rpc.Version, Procedure: p, Serial: c.serial}
	require.NoError(c.t, rpc.Write(c.conn, h, args))
	return c.serial
}

func (c *caller) read() rpc.Message {
	m, err := rpc.Read(c.conn)
	require.NoError(c.t, err)
	return m
}

// reply reads the answer to a call.
func (c *caller) reply(p rpc.Procedure, serial uint32) ([]byte, *rpc.Error) {
	m := c.read()
	require.Equal(c.t, rpc.Header{Program: rpc.ProgramRemote, Version: rpc.Version, Procedure: p, Type: rpc.TypeReply, Serial: serial, Status: m.Status}, m.Header)
	if m.Status == rpc.StatusOK {
		return m.Payload, nil
	}
	e := &rpc.Error{}
	require.NoError(c.t, rpc.Unmarshal(m.Payload, e))
	return nil, e
}

// outcome is how a call went, nil if well.
func (c *caller) outcome(p rpc.Procedure, args any) *rpc.Error {
	_, err := c.reply(p, c.begin(p, args))
	return err
}

func (c *caller) must(p rpc.Procedure, args, result any) {
	payload, err := c.reply(p, c.begin(p, args))
	if err != nil {
		require.NoError(c.t, err, "procedure %d", p)
	}
	require.NoError(c.t, rpc.Unmarshal(payload, result))
}
