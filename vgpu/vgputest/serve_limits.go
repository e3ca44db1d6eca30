package vgputest

import (
	"cmp"
	"context"
	"fmt"
	"maps"

	rpc "github.com/vgpukit/vgpukit/internal/libvirtrpc"
)

// Limits are how much [Hypervisor.Serve] does at a time, as libvirtd.conf and
// virtqemud.conf say it. A zero stands for what libvirt is shipped with.
type Limits struct {
	// ClientRequests are the calls of one connection, max_client_requests. While that
	// many wait for their answers, nothing more is heard of the client, signs of life
	// neither. 0: 5.
	ClientRequests int
	// Workers are the calls of all connections, max_workers. 0: 20.
	Workers int
	// PriorityWorkers are those beside them, prio_workers, that only make calls which
	// never wait for a QEMU, and destroys. 0: 5.
	PriorityWorkers int
}

// SetLimits holds for what is served from then on. It panics at a number below zero.
func (h *Hypervisor) SetLimits(l Limits) {
	if l.ClientRequests < 0 || l.Workers < 0 || l.PriorityWorkers < 0 {
		panic(fmt.Sprintf("vgputest: limits of %+v", l))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.limits = l
}

// Messages returns how many calls the clients of [Hypervisor.Serve] have made, by the
// function of libvirt's API, since the hypervisor was made or since
// [Hypervisor.ResetCalls]. A method of domain/virt.Conn takes one or more of them.
func (h *Hypervisor) Messages() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.messages)
}

// received counts a message.
func (w *world) received(p rpc.Procedure) {
	name := procedures[p].function
	if name == "" {
		name = fmt.Sprint("procedure ", p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.messages[name]++
}

// workers are the places of the calls of all clients.
type workers struct{ ordinary, priority chan struct{} }

func newWorkers(l Limits) workers {
	return workers{
		ordinary: make(chan struct{}, cmp.Or(l.Workers, 20)),
		priority: make(chan struct{}, cmp.Or(l.PriorityWorkers, 5)),
	}
}

// enter waits for a worker. It is false when ctx ends before.
func (w workers) enter(ctx context.Context, p rpc.Procedure) (leave func(), ok bool) {
	priority := w.priority
	if !urgent[p] {
		priority = nil
	}
	select {
	case w.ordinary <- struct{}{}:
		return func() { <-w.ordinary }, true
	case priority <- struct{}{}:
		return func() { <-w.priority }, true
	case <-ctx.Done():
		return nil, false
	}
}

// urgent are the procedures that libvirt marks with a high priority.
var urgent = map[rpc.Procedure]bool{
	rpc.AuthList: true, rpc.ConnectOpen: true, rpc.ConnectClose: true, rpc.ConnectSupportsFeature: true,
	rpc.ConnectGetType: true, rpc.ConnectGetVersion: true, rpc.ConnectGetLibVersion: true, rpc.ConnectGetURI: true,
	rpc.ConnectGetHostname: true, rpc.ConnectGetMaxVcpus: true, rpc.ConnectIsSecure: true,
	rpc.ConnectRegisterClose: true, rpc.ConnectUnregisterClose: true,
	rpc.ConnectCallbackRegister: true, rpc.ConnectCallbackDereg: true,
	rpc.NodeGetInfo: true, rpc.NodeGetSecurityModel: true,
	rpc.ConnectListAllDomains: true, rpc.ConnectNumOfDomains: true, rpc.ConnectListDomains: true,
	rpc.ConnectNumOfDefined: true, rpc.ConnectListDefined: true,
	rpc.DomainLookupByID: true, rpc.DomainLookupByName: true, rpc.DomainLookupByUUID: true,
	rpc.DomainDefineXML: true, rpc.DomainDefineXMLFlags: true, rpc.DomainUndefine: true, rpc.DomainUndefineFlags: true,
	rpc.DomainDestroy: true, rpc.DomainDestroyFlags: true,
	rpc.DomainGetAutostart: true, rpc.DomainSetAutostart: true,
	rpc.DomainGetState: true, rpc.DomainGetControlInfo: true, rpc.DomainGetMaxMemory: true, rpc.DomainGetMaxVcpus: true,
	rpc.DomainGetOSType: true, rpc.DomainIsActive: true, rpc.DomainIsPersistent: true, rpc.DomainIsUpdated: true,
	rpc.DomainGetSecurityLabel: true, rpc.DomainSecurityLabelList: true,
	rpc.DomainListAllSnapshots: true, rpc.DomainSnapshotListKids: true, rpc.DomainSnapshotNum: true,
	rpc.DomainSnapshotNumKids: true, rpc.DomainSnapshotListNames: true, rpc.DomainSnapshotKidNames: true,
	rpc.DomainSnapshotLookupName: true, rpc.DomainSnapshotGetParent: true, rpc.DomainSnapshotGetXMLDesc: true,
}
