package vgputest

import (
	"cmp"
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// acceptPause is how long the server waits when it is out of file descriptors.
const acceptPause = 10 * time.Millisecond

// Serve lets other processes reach the hypervisor by libvirt's own protocol, as if a
// libvirtd listened there: virsh, domain/virt, any client of libvirt's. With l on a Unix
// socket the URI is
//
//	qemu+unix:///system?socket=/path/of/the/socket
//
// What clients do counts as calls of h, and its faults strike them; of h.Virsh() they
// do not. Nobody is asked who he is: whoever may open the socket may do everything. A
// client that goes away ends its calls. It does as much at a time as [Limits] say. What a libvirtd has besides VMs (networks,
// pools, migrations, consoles) is refused as a libvirt without that support does.
//
// Serve ends when ctx does: it closes the listener and all connections, waits until
// nothing is left of them, and returns nil. It fails only when l does.
func (h *Hypervisor) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	s := newServer(h)
	defer s.clients.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			s.admit(ctx, conn)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ECONNABORTED):
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
		default:
			_ = l.Close()
			return err
		}
	}
}

// server is what the clients of one Serve share.
type server struct {
	h        *Hypervisor
	clients  sync.WaitGroup
	requests int // of one client at a time
	workers  workers

	mu   sync.Mutex
	jobs jobs
}

func newServer(h *Hypervisor) *server {
	h.mu.Lock()
	limits := h.limits
	h.mu.Unlock()
	return &server{h: h, requests: cmp.Or(limits.ClientRequests, 5), workers: newWorkers(limits), jobs: make(jobs)}
}

// admit serves a connection, unless the daemon is down.
func (s *server) admit(ctx context.Context, conn net.Conn) {
	s.h.mu.Lock()
	down, restarted := s.h.away(), s.h.restarted
	s.h.mu.Unlock()
	if down {
		_ = conn.Close()
		return
	}
	s.clients.Go(func() { newClient(s, conn).serve(ctx, restarted) })
}
