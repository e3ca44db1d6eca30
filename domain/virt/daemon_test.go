//go:build cgo

package virt

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"libvirt.org/go/libvirt"
)

// libvirt's wire protocol, as far as the tests speak it: a length, a header of
// six words, and XDR. See https://libvirt.org/kbase/internals/rpc.html and
// remote_protocol.x for the numbers.
const (
	programRemote    = 0x20008086
	programKeepAlive = 0x6b656570

	typeCall, typeReply, typeMessage, typeStream = 0, 1, 2, 3
	statusOK, statusError, statusContinue        = 0, 1, 2

	eventLifecycle, eventDeviceRemoved, eventDeviceRemovalFailed = 0, 15, 22

	procOpen               = 1
	procClose              = 2
	procXML                = 14
	procLookupName         = 23
	procFeature            = 60
	procAuthList           = 66
	procIsPersistent       = 151
	procDetachFlags        = 161
	procAbortJob           = 164
	procManagedSave        = 182
	procCreateFlags        = 196
	procScreenshot         = 211
	procState              = 212
	procJobStats           = 298
	procRegisterEvent      = 316
	procDeregisterEvent    = 317
	procEventLifecycle     = 318
	procEventDeviceRemoved = 333
	procEventRemovalFailed = 367
	procRegisterClose      = 360
	procUnregisterClose    = 361
	procDetachAlias        = 392
)

// A daemon is a libvirtd of the tests' own, to which the real client library
// talks: it can be killed, restarted, frozen, and made to answer anything.
type daemon struct {
	t      *testing.T
	socket string

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]*sync.Mutex
	events   map[net.Conn]map[uint32]uint32 // event kind to callback
	answers  map[uint32]func(args *xdr) ([]byte, error)
	streams  map[uint32][]byte // what follows a procedure's answer
	calls    map[uint32]int
	pending  map[net.Conn]int // calls without an answer
	most     int              // of these at a time, of one connection
	called   chan uint32      // every call, if the test asks for it
	frozen   chan struct{}
	tasks    sync.WaitGroup
}

func startDaemon(t *testing.T) *daemon {
	dir, err := os.MkdirTemp("", "virt") // t.TempDir's names are too long for a socket
	require.NoError(t, err)
	d := &daemon{
		t: t, socket: filepath.Join(dir, "libvirt-sock"), calls: map[uint32]int{}, streams: map[uint32][]byte{}, pending: map[net.Conn]int{},
	}
	d.answers = map[uint32]func(*xdr) ([]byte, error){
		procOpen:  func(*xdr) ([]byte, error) { return nil, nil },
		procClose: func(*xdr) ([]byte, error) { return nil, nil },
		procAuthList: func(*xdr) ([]byte, error) {
			return words(1, 0), nil // one way: none
		},
		procFeature: func(a *xdr) ([]byte, error) {
			switch a.word() {
			case 10, 14, 15: // keep-alive, event callbacks, close callbacks
				return words(1), nil
			}
			return words(0), nil
		},
		procRegisterClose:   func(*xdr) ([]byte, error) { return nil, nil },
		procUnregisterClose: func(*xdr) ([]byte, error) { return nil, nil },
		procLookupName: func(a *xdr) ([]byte, error) {
			if name := a.text(); name != "one" {
				return nil, libvirt.Error{Code: 42, Domain: 10, Message: "Domain not found: no domain with matching name '" + name + "'"}
			}
			return vmOne, nil
		},
		procState:        func(*xdr) ([]byte, error) { return words(1, 0), nil },
		procIsPersistent: func(*xdr) ([]byte, error) { return words(1), nil },
		procXML:          func(*xdr) ([]byte, error) { return text("<domain><devices/></domain>"), nil },
		procCreateFlags:  func(*xdr) ([]byte, error) { return vmOne, nil },
	}
	d.start()
	t.Cleanup(func() {
		d.kill()
		d.tasks.Wait()
		require.NoError(t, os.RemoveAll(dir))
	})
	return d
}

// vmOne is the daemon's only VM on the wire: name, UUID, id.
var vmOne = append(append(text("one"), vmOneUUID[:]...), words(1)...)

var vmOneUUID = uuid.MustParse("11111111-1111-4111-8111-111111111111")

func (d *daemon) uri() string { return "qemu+unix:///system?socket=" + d.socket }

// answer replaces what a procedure does.
func (d *daemon) answer(proc uint32, f func(args *xdr) ([]byte, error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers[proc] = f
}

// stream makes a procedure answer with body and then send data.
func (d *daemon) stream(proc uint32, body, data []byte) {
	d.answer(proc, func(*xdr) ([]byte, error) { return body, nil })
	d.mu.Lock()
	defer d.mu.Unlock()
	d.streams[proc] = data
}

func (d *daemon) count(proc uint32) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls[proc]
}

// watch returns a channel of the calls from now on.
func (d *daemon) watch() <-chan uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.called = make(chan uint32, 1000)
	return d.called
}

// freeze makes it stop answering, keep-alive messages too, until thaw or kill.
func (d *daemon) freeze() (thaw func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	frozen := make(chan struct{})
	d.frozen = frozen
	return sync.OnceFunc(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		close(frozen)
		if d.frozen == frozen {
			d.frozen = nil
		}
	})
}

func (d *daemon) start() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.listen()
}

// restart is kill and start, with a socket that is there all the time, as it is
// when systemd holds it.
func (d *daemon) restart() {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.listener.Close()
	dead := d.conns
	d.listen()
	for conn := range dead {
		_ = conn.Close()
	}
}

func (d *daemon) listen() {
	l, err := net.Listen("unix", d.socket)
	require.NoError(d.t, err)
	d.listener, d.conns = l, map[net.Conn]*sync.Mutex{}
	d.events = map[net.Conn]map[uint32]uint32{}
	d.tasks.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			d.mu.Lock()
			if d.listener != l {
				d.mu.Unlock()
				_ = conn.Close()
				return
			}
			d.conns[conn] = &sync.Mutex{}
			d.events[conn] = map[uint32]uint32{}
			d.mu.Unlock()
			d.tasks.Go(func() { d.serve(conn) })
		}
	})
}

// kill ends it as kill -9 would, but removes the socket, as systemd would.
func (d *daemon) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listener == nil {
		return
	}
	_ = d.listener.Close()
	d.listener = nil
	for conn := range d.conns {
		_ = conn.Close()
	}
}

func (d *daemon) serve(conn net.Conn) {
	defer conn.Close()
	for {
		var size [4]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(size[:])
		if n < 28 || n > 1<<20 {
			d.t.Errorf("message of %d bytes", n)
			return
		}
		msg := make([]byte, n-4)
		if _, err := io.ReadFull(conn, msg); err != nil {
			return
		}
		a := &xdr{msg}
		program, version, proc, kind, serial, _ := a.word(), a.word(), a.word(), a.word(), a.word(), a.word()

		d.mu.Lock()
		frozen, f, called, data := d.frozen, d.answers[proc], d.called, d.streams[proc]
		if program == programRemote {
			d.calls[proc]++
		}
		d.mu.Unlock()
		if frozen != nil {
			<-frozen
		}
		if program == programKeepAlive {
			if proc == 1 { // ping
				d.send(conn, words(programKeepAlive, version, 2, typeMessage, 0, statusOK), nil)
			}
			continue
		}
		if kind == typeStream { // the client has it all
			d.send(conn, words(programRemote, version, proc, typeStream, serial, statusOK), nil)
		}
		if kind != typeCall {
			continue
		}
		if called != nil {
			called <- proc
		}
		d.begun(conn, +1)
		// Each in its own goroutine, as the real one's workers.
		d.tasks.Go(func() {
			var body []byte
			var err error
			switch {
			case proc == procRegisterEvent:
				body = words(d.register(conn, a.word()))
			case proc == procDeregisterEvent:
			case f != nil:
				body, err = f(a)
			default:
				err = libvirt.Error{Code: libvirt.ERR_NO_SUPPORT, Message: "this function is not supported by the test's daemon"}
				d.t.Logf("procedure %d is not known", proc)
			}
			status := uint32(statusOK)
			if err != nil {
				status, body = statusError, wireError(err)
			}
			d.begun(conn, -1) // before the client knows
			d.send(conn, words(programRemote, version, proc, typeReply, serial, status), body)
			for err == nil && data != nil {
				n := min(len(data), 64<<10) // an empty piece is the end
				d.send(conn, words(programRemote, version, proc, typeStream, serial, statusContinue), data[:n])
				if n == 0 {
					break
				}
				data = data[n:]
			}
		})
	}
}

func (d *daemon) begun(conn net.Conn, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending[conn] += n
	d.most = max(d.most, d.pending[conn])
}

func (d *daemon) register(conn net.Conn, kind uint32) uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := uint32(100 + len(d.events[conn]))
	if kinds := d.events[conn]; kinds != nil {
		kinds[kind] = id
	}
	return id
}

// emit sends an event of vmOne to each connection that registered its kind.
func (d *daemon) emit(kind, proc uint32, detail []byte) {
	d.mu.Lock()
	to := map[net.Conn]uint32{}
	for conn, kinds := range d.events {
		if id, ok := kinds[kind]; ok {
			to[conn] = id
		}
	}
	d.mu.Unlock()
	for conn, id := range to {
		d.send(conn, words(programRemote, 1, proc, typeMessage, 0, statusOK),
			append(append(words(id), vmOne...), detail...))
	}
}

func (d *daemon) lifecycle(event libvirt.DomainEventType, detail uint32) {
	d.emit(eventLifecycle, procEventLifecycle, words(uint32(event), detail))
}

func (d *daemon) deviceRemoved(alias string) {
	d.emit(eventDeviceRemoved, procEventDeviceRemoved, text(alias))
}

func (d *daemon) removalFailed(alias string) {
	d.emit(eventDeviceRemovalFailed, procEventRemovalFailed, text(alias))
}

func (d *daemon) send(conn net.Conn, header, body []byte) {
	d.mu.Lock()
	lock := d.conns[conn]
	d.mu.Unlock()
	if lock == nil {
		return // of a daemon that was killed
	}
	lock.Lock()
	defer lock.Unlock()
	_, _ = conn.Write(append(words(uint32(4+len(header)+len(body))), append(header, body...)...))
}

// xdr reads words and strings.
type xdr struct{ rest []byte }

func (x *xdr) word() uint32 {
	if len(x.rest) < 4 {
		return 0
	}
	w := binary.BigEndian.Uint32(x.rest)
	x.rest = x.rest[4:]
	return w
}

func (x *xdr) text() string {
	n := int(x.word())
	if n > len(x.rest) {
		return ""
	}
	s := string(x.rest[:n])
	x.rest = x.rest[min(len(x.rest), (n+3)&^3):]
	return s
}

func words(w ...uint32) []byte {
	var b []byte
	for _, v := range w {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func text(s string) []byte {
	b := append(words(uint32(len(s))), s...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// wireError is a remote_error: code, domain, message, level, no object, no
// further texts, two numbers, no network.
func wireError(err error) []byte {
	var lv libvirt.Error
	if !errors.As(err, &lv) {
		lv = libvirt.Error{Code: libvirt.ERR_INTERNAL_ERROR, Message: err.Error()}
	}
	b := append(words(uint32(lv.Code), uint32(lv.Domain), 1), text(lv.Message)...)
	return append(b, words(2, 0, 0, 0, 0, 0, 0, 0)...)
}
