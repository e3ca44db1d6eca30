// Package virt is the connection to libvirt: it defines, starts, stops and
// watches the virtual machines (libvirt's domains) that hold vGPUs. It is the
// only package here that needs cgo, beside package vgpukit, which opens it.
//
//	conn, err := virt.Open(ctx, virt.Config{})   // qemu:///system
//	…
//	defer conn.Close()
//	vm, err := conn.Define(ctx, document)
//	err = conn.Start(ctx, vm.Name)
//
// A VM is named by its name or by its UUID; what reads as a UUID is one. No libvirt object leaves the
// package: what is returned is plain data, and every handle is freed before a
// method returns or, when its context ended first, as soon as libvirt answers.
//
// # Contexts
//
// libvirt's calls cannot be cancelled. Each one runs in a goroutine of its own;
// when the context ends, the method returns at once with an error that wraps
// the context's, and the answer is thrown away when it comes. So a cancelled
// Start may still start the VM: look with [Conn.Info]. Three kinds of calls do
// better. [Conn.Save] and [Conn.ManagedSave] abort libvirt's job and then wait
// a few seconds for its end, so that their result is the truth.
// [Conn.Screenshot] stops the transfer. [Conn.Detach] stops waiting for the
// guest, which still has the request.
//
// # Connections
//
// A Conn has more than one connection. libvirtd hears no more of a connection
// while 5 of its calls wait for their answers (max_client_requests), and makes 20
// calls at a time for all clients (max_workers). So calls are of two kinds:
//
//   - Quick ones, which libvirt answers by itself (Info, Definition, Domains,
//     Define, Undefine, Events, …), share the first connection, Config.MaxCalls at
//     a time.
//   - Slow ones, which wait for a QEMU or for the VM's turn (Start, Shutdown,
//     Terminate, Destroy, Suspend, Save, Restore, Attach, Detach, Screenshot,
//     Monitor, …), have a connection to themselves. It is opened when none is
//     free, up to Config.MaxConnections, and closed after 30 s without a call.
//
// By default that makes 16 slow and 4 quick calls at a time. Quick calls wait for no
// slow one. Of 64 VMs that are started at once, all run after four times the time
// of a start, as with one connection for each, and three times as fast as over
// one. Over the network there are 4 slow calls at a time. The test driver and an
// embedded one have no daemon, and one connection for all.
//
// Further calls wait in line, within their context; those of package vgpu in the order in
// which its operations began. The time that package vgpu
// grants libvirt for its answer (vgpu.Timeouts.Call) does not run meanwhile, unless
// libvirt has as many calls as there may be and their callers have all given up:
// then it is silent.
//
// # Lost connections
//
// A daemon that does not answer keep-alive messages, restarts, or is killed
// ends the connection. Calls under way fail with [domain.ErrUnavailable],
// unless they only read: those are repeated once on a new connection. The next
// call connects again. While somebody listens to [Conn.Events], the Conn does
// so by itself, backing off between attempts, subscribes again and sends
// [domain.EventReconnected], because events in between are lost.
//
// The first Open starts libvirt's event loop, in a goroutine that lasts as long
// as the program: libvirt has no way to end it. Connections are closed by
// [Conn.Close] without a rest.
//
// # Errors
//
// Every error is an [*Error], with libvirt's code and domain, what that means
// here, the likely cause and the next step. errors.Is finds the sentinels of
// package domain, such as [domain.ErrNotFound], and libvirt's own
// libvirt.ErrorNumber. A failure that none of the sentinels describes, such as
// a QEMU that ends while it starts, matches the number only.
//
// # Building
//
// With the build tag libvirt_dlopen no libvirt headers are needed, and
// libvirt.so.0 is loaded when the program runs; where it is missing, [Open]
// says which package brings it. Without the tag the headers and pkg-config are
// (Debian: libvirt-dev pkgconf, Fedora: libvirt-devel pkgconf). A C compiler is
// needed in any case, and CGO_ENABLED=1 where Go does not set it by itself.
package virt
