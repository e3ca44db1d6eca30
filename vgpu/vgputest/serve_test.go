package vgputest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	rpc "github.com/vgpukit/vgpukit/internal/libvirtrpc"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// patience is how long a test waits for what should come at once.
const patience = 20 * time.Second

const webXML = `<domain type='kvm'>
  <name>web1</name>
  <uuid>c2177883-f1bb-47f0-914d-32a22e3a8804</uuid>
  <memory unit='MiB'>512</memory>
  <currentMemory>262144</currentMemory>
  <vcpu>2</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <controller type='pci' index='0' model='pcie-root'/>
    <controller type='pci' index='1' model='pcie-root-port'/>
    <disk type='file' device='disk'><source file='/disk'/><target dev='sda' bus='sata'/></disk>
    <graphics type='vnc' passwd='s3cret'/>
  </devices>
</domain>`

var web = rpc.Domain{Name: "web1", UUID: uuid.MustParse("c2177883-f1bb-47f0-914d-32a22e3a8804"), ID: -1}

// newWorld is a libvirt with the VM web1, which is off.
func newWorld(t testing.TB) *Hypervisor {
	board, err := mdevtest.NewBoard("tesla-m60")
	require.NoError(t, err)
	h := New(mdevtest.New(board))
	_, err = h.Virsh().Define(t.Context(), webXML)
	require.NoError(t, err)
	return h
}

// serveAt serves h on a socket until the test, or what is returned, ends it.
func serveAt(t testing.TB, h *Hypervisor) (socket string, end func()) {
	dir, err := os.MkdirTemp("", "libvirt") // short, as a socket's path must be
	require.NoError(t, err)
	socket = filepath.Join(dir, "sock")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(ctx, l) }()
	end = sync.OnceFunc(func() {
		cancel()
		assert.NoError(t, <-ended)
		assert.NoError(t, os.RemoveAll(dir))
	})
	t.Cleanup(end)
	return socket, end
}

// TestServeAnswers: every procedure that there may be has exactly one answer, whatever
// comes with it, and those that are not known have libvirtd's.
func TestServeAnswers(t *testing.T) {
	socket, _ := serveAt(t, newWorld(t))
	c := dial(t, socket, 0)
	payloads := []any{nil, rpc.Void{}, rpc.Number{N: 1 << 30}, rpc.FlagArgs{Dom: web, Flags: 1 << 31}, rpc.TextFlagArgs{Dom: web, Text: "<", Flags: 0}}
	for p := rpc.Procedure(-1); p <= rpc.LastProcedure+2; p++ {
		for _, payload := range payloads {
			err := c.outcome(p, payload)
			_, known := procedures[p]
			switch {
			case p == rpc.ConnectClose && err == nil:
				c.must(rpc.ConnectOpen, rpc.OpenArgs{}, &rpc.Void{})
			case p < 1, p > rpc.LastProcedure:
				require.EqualError(t, err, fmt.Sprintf("unknown procedure: %d", p))
				require.EqualValues(t, rpc.CodeRPC, err.Code)
				require.EqualValues(t, rpc.FromRPC, err.Domain)
			case !known:
				require.EqualValues(t, rpc.CodeNoSupport, err.Code)
			}
		}
	}
	for _, h := range []rpc.Header{{Program: rpc.ProgramRemote, Version: 2}, {Program: 0x20008088, Version: 1}} {
		h.Procedure, h.Serial = rpc.ConnectGetType, 99
		require.NoError(t, rpc.Write(c.conn, h, nil))
		m := c.read()
		require.Equal(t, rpc.StatusError, m.Status)
		require.Equal(t, h.Serial, m.Serial)
	}
}

// TestServeReadOnly: a read-only connection changes nothing and sees no secret.
func TestServeReadOnly(t *testing.T) {
	h := newWorld(t)
	socket, _ := serveAt(t, h)
	c := dial(t, socket, rpc.ReadOnly)
	for number, p := range procedures {
		if p.changes {
			err := c.outcome(number, nil)
			require.EqualError(t, err, "operation forbidden: read only access prevents "+p.function)
			require.EqualValues(t, rpc.CodeDenied, err.Code)
		}
	}
	var doc rpc.Text
	c.must(rpc.DomainGetXMLDesc, rpc.FlagArgs{Dom: web}, &doc)
	assert.NotContains(t, doc.Text, "s3cret")
	for _, flags := range []uint32{xmlSecure, xmlMigratable} {
		require.EqualError(t, c.outcome(rpc.DomainGetXMLDesc, rpc.FlagArgs{Dom: web, Flags: flags}), "operation forbidden: virDomainGetXMLDesc with secure flag")
	}
	closed := dial(t, socket, 0)
	closed.must(rpc.ConnectClose, nil, &rpc.Void{})
	require.EqualError(t, closed.outcome(rpc.ConnectGetType, nil), "internal error: connection not open")
}

// TestServePipeline: answers come when they are ready, with the numbers of their calls;
// a call that hangs delays no other, no sign of life, and no other client; it ends with
// its client.
func TestServePipeline(t *testing.T) {
	h := newWorld(t)
	began, ended := make(chan struct{}), make(chan error, 1)
	h.Fail(Fault{Method: "Start", Do: func(ctx context.Context, _ Call) error {
		close(began)
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}})
	socket, _ := serveAt(t, h)
	c, other := dial(t, socket, 0), dial(t, socket, 0)
	hung := c.begin(rpc.DomainCreate, rpc.DomainArgs{Dom: web})
	<-began
	other.must(rpc.DomainGetState, rpc.FlagArgs{Dom: web}, &rpc.State{})
	want := map[uint32]bool{}
	for range 100 {
		want[c.begin(rpc.DomainGetState, rpc.FlagArgs{Dom: web})] = true
	}
	ping := rpc.Header{Program: rpc.ProgramKeepalive, Version: rpc.Version, Procedure: rpc.Ping, Type: rpc.TypeMessage}
	require.NoError(t, rpc.Write(c.conn, ping, nil))
	pongs := 0
	for len(want) > 0 || pongs == 0 {
		m := c.read()
		if m.Program == rpc.ProgramKeepalive {
			assert.Equal(t, rpc.Pong, m.Procedure)
			pongs++
			continue
		}
		require.NotEqual(t, hung, m.Serial)
		require.True(t, want[m.Serial], "one answer for each call")
		delete(want, m.Serial)
	}
	require.NoError(t, c.conn.Close())
	require.ErrorIs(t, <-ended, context.Canceled)
}

// TestServeSlowClient: a client that listens and does not read holds nobody up. When it
// reads again after events were lost, it loses its connection, and so learns of it.
func TestServeSlowClient(t *testing.T) {
	h := newWorld(t)
	socket, _ := serveAt(t, h)
	slow, quick := dial(t, socket, 0), dial(t, socket, 0)
	slow.must(rpc.ConnectCallbackRegister, rpc.RegisterArgs{}, &rpc.Number{})
	quick.must(rpc.DomainCreate, rpc.DomainArgs{Dom: web}, &rpc.Void{})
	for range 2000 {
		quick.must(rpc.DomainSuspend, rpc.DomainArgs{Dom: web}, &rpc.Void{})
		quick.must(rpc.DomainResume, rpc.DomainArgs{Dom: web}, &rpc.Void{})
	}
	events := 0
	for ; ; events++ {
		if _, err := rpc.Read(slow.conn); err != nil {
			require.ErrorIs(t, err, io.EOF)
			break
		}
	}
	assert.Less(t, events, 4000, "some were lost")
}

// TestServeErrors: a client finds in an error what libvirt would have told it.
func TestServeErrors(t *testing.T) {
	h := newWorld(t)
	socket, _ := serveAt(t, h)
	c := dial(t, socket, 0)
	gone := rpc.Domain{Name: "gone", UUID: uuid.MustParse("11111111-2222-3333-4444-555555555555")}
	for _, test := range []struct {
		procedure rpc.Procedure
		args      any
		code      int32
		message   string
	}{
		{rpc.DomainLookupByName, rpc.Text{Text: "gone"}, 42, "Domain not found: no domain with matching name 'gone'"},
		{rpc.DomainLookupByUUID, rpc.ID{UUID: gone.UUID}, 42, "Domain not found: no domain with matching uuid '11111111-2222-3333-4444-555555555555'"},
		{rpc.DomainLookupByID, rpc.Number{N: 7}, 42, "Domain not found: no domain with matching id 7"},
		{rpc.DomainCreate, rpc.DomainArgs{Dom: gone}, 42, "Domain not found: no domain with matching uuid '11111111-2222-3333-4444-555555555555' (gone)"},
		{rpc.DomainSnapshotIsCurrent, rpc.SnapshotArgs{Snap: rpc.Snapshot{Name: "s1", Dom: gone}}, 42, "Domain not found: no domain with matching uuid '11111111-2222-3333-4444-555555555555' (gone)"},
		{rpc.DomainSnapshotIsCurrent, rpc.SnapshotArgs{Snap: rpc.Snapshot{Name: "s1", Dom: web}}, 72, "Domain snapshot not found: no domain snapshot with matching name 's1'"},
		{rpc.DomainDestroy, rpc.DomainArgs{Dom: web}, 55, "Requested operation is not valid: domain is not running"},
		{rpc.DomainAbortJob, rpc.DomainArgs{Dom: web}, 55, "Requested operation is not valid: domain is not running"},
		{rpc.DomainDefineXML, rpc.Text{Text: "<domain type='kvm'/>"}, 21, "missing name information"},
		{rpc.DomainDestroyFlags, rpc.FlagArgs{Dom: web, Flags: 1 << 9}, 8, "invalid argument: unsupported flags (0x200) in function qemuDomainDestroyFlags"},
		{rpc.DomainCreate, rpc.Void{}, 39, "Unable to decode message payload: malformed message: it ends 4 bytes too early"},
		{rpc.ConnectCallbackRegister, rpc.RegisterArgs{Event: 99}, 1, "internal error: unsupported event ID 99"},
		{rpc.ConnectCallbackDereg, rpc.Number{N: 99}, 1, "internal error: domain event callback 99 not registered"},
		{rpc.DomainGetMetadata, rpc.MetadataArgs{Dom: web, Type: 2}, 80, "metadata not found: Requested metadata element is not present"},
		{rpc.DomainSetMetadata, rpc.SetMetadataArgs{Dom: web}, 74, "argument unsupported: only metadata of " + domain.MetadataURI + " can be set here"},
	} {
		err := c.outcome(test.procedure, test.args)
		require.EqualError(t, err, test.message, "procedure %d", test.procedure)
		assert.Equal(t, test.code, err.Code, test.message)
	}
	for kind, code := range map[error]int32{
		domain.ErrInvalid: 8, domain.ErrNotFound: 99, domain.ErrExists: 28, domain.ErrInUse: 87, domain.ErrState: 55,
		domain.ErrPermission: 88, domain.ErrUnsupported: 84, errors.New("odd"): 1,
	} {
		undo := h.Fail(Fault{Method: "Start", Err: kind})
		err := c.outcome(rpc.DomainCreate, rpc.DomainArgs{Dom: web})
		undo()
		require.EqualError(t, err, kind.Error())
		assert.Equal(t, code, err.Code, kind.Error())
	}
}

// TestServeDown: a daemon that ends or is down has no clients, and serves again when
// it is there again.
func TestServeDown(t *testing.T) {
	h := newWorld(t)
	socket, end := serveAt(t, h)
	closed := func(c *caller) {
		_, err := rpc.Read(c.conn)
		require.ErrorIs(t, err, io.EOF)
	}
	c := dial(t, socket, 0)
	h.RestartDaemon()
	closed(c)
	c = dial(t, socket, 0)
	h.SetDown(true)
	closed(c)
	conn, err := net.Dial("unix", socket)
	require.NoError(t, err)
	closed(&caller{conn: conn})
	require.NoError(t, conn.Close())
	h.SetDown(false)
	c = dial(t, socket, 0)
	end()
	closed(c)
	_, err = net.Dial("unix", socket)
	require.Error(t, err)
}

// TestServeListenerFails: Serve ends with the error of a listener that fails.
func TestServeListenerFails(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.ErrorIs(t, newWorld(t).Serve(t.Context(), l), net.ErrClosed)
}

// TestServeLeavesNothing: of 1,000 connections, some in the middle of a call or of a
// message, no goroutine and no descriptor is left.
func TestServeLeavesNothing(t *testing.T) {
	goroutines, descriptors := runtime.NumGoroutine(), countDescriptors(t)
	var callers []*caller
	h := newWorld(t)
	h.Fail(Fault{Method: "Suspend", Hang: true})
	socket, end := serveAt(t, h)
	for i := range 1000 {
		c := dial(t, socket, 0)
		callers = append(callers, c)
		switch i % 4 {
		case 0:
			c.must(rpc.ConnectCallbackRegister, rpc.RegisterArgs{}, &rpc.Number{})
		case 1:
			c.begin(rpc.DomainSuspend, rpc.DomainArgs{Dom: web})
		case 2:
			_, err := c.conn.Write([]byte{0, 0, 0, 40, 1, 2})
			require.NoError(t, err)
		}
		if i%8 < 4 {
			require.NoError(t, c.conn.Close())
		}
		if i%100 == 99 {
			h.RestartDaemon()
		}
	}
	end()
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+1 }, patience, time.Millisecond)
	for _, c := range callers {
		_ = c.conn.Close()
	}
	assert.LessOrEqual(t, countDescriptors(t), descriptors)
}

func countDescriptors(t testing.TB) int {
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// FuzzServe: whatever bytes come, the server answers or closes, and serves the next.
func FuzzServe(f *testing.F) {
	h := newWorld(f)
	socket, _ := serveAt(f, h)
	for p := range procedures {
		b, err := rpc.Frame(rpc.Header{Program: rpc.ProgramRemote, Version: rpc.Version, Procedure: p}, rpc.FlagArgs{Dom: web})
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := dial(t, socket, 0)
		if _, err := c.conn.Write(data); err == nil {
			_ = c.conn.(*net.UnixConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c.conn)
		}
		require.NoError(t, c.conn.Close())
		dial(t, socket, 0).must(rpc.ConnectGetType, nil, &rpc.Text{})
	})
}

// TestServeRandomCalls: random arguments with the right frame make no call hang, and
// leave a world that still works.
func TestServeRandomCalls(t *testing.T) {
	h := newWorld(t)
	socket, _ := serveAt(t, h)
	c := dial(t, socket, 0)
	random := rand.New(rand.NewPCG(1, 2))
	for p := range procedures {
		if p == rpc.ConnectClose {
			continue
		}
		for range 30 {
			payload := make([]int32, random.IntN(20))
			for i := range payload {
				payload[i] = int32(random.IntN(4))
			}
			_ = c.outcome(p, struct {
				Dom  rpc.Domain
				Rest []int32
			}{web, payload})
		}
	}
	c.must(rpc.ConnectGetType, nil, &rpc.Text{})
}
