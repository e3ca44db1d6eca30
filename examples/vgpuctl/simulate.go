package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"strings"
	"syscall"

	"github.com/vgpukit/vgpukit/examples/vgpuctl/simfs"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// simulateCmd mounts a simulated host until it is interrupted.
type simulateCmd struct {
	Mount   string   `required:"" type:"path" help:"Directory to mount on, empty; made when it is missing." placeholder:"DIR"`
	Board   []string `required:"" sep:"none" help:"A board, repeatable: NAME[@PCI-ADDRESS][,numa=N][,vfs=N][,driver=RELEASE][,vendor-vfio][,vfio-pci-types=N][,ecc][,old-driver][,mixed][,mig][,mig=PROFILE:N][,clean-up=TIME]." placeholder:"BOARD"`
	Libvirt bool     `help:"Simulate the host's libvirt too, with QEMU, and print the flags that lead there."`
	Socket  string   `type:"path" help:"The Unix socket of that libvirt (default: DIR.sock)." placeholder:"PATH"`
}

// Help tells what there is and how to try it.
func (c *simulateCmd) Help() string {
	return "Boards: " + strings.Join(mdevtest.Boards(), ", ") + `.

vgpuctl --root DIR then works on the mounted host, and so do a shell and other programs (mdevctl from 1.3 on with
MDEVCTL_ENV_ROOT=DIR). With --libvirt it has VMs too: every command of vgpuctl works with the flags that are printed,
and so do virsh -c URI and whatever else speaks libvirt's protocol.

Lines written to DIR/sim/control play the rest:

  use ID VM PID; release ID       a process opens a vGPU; lets go
  sriov-manage -e ALL             NVIDIA's program
  nvidia-smi mig -i GPU -cgi 1g.24gb+gfx   makes a GPU instance; -dgi -gi ID, -lgi, -lgip; -i GPU -mig 1
  reboot                          of the host
  crash VM; poweroff VM           with --libvirt: QEMU dies; the guest shuts down
  guest VM [deaf] [ignores-sigterm] [ignores-sigkill]
  libvirtd stop; libvirtd start; libvirtd restart

ctrl-C ends it, whoever uses the mount, and leaves nothing behind.`
}

// Run mounts, waits, and unmounts.
func (c *simulateCmd) Run(g *globals) error {
	host, err := mdevtest.NewHost(c.Board...)
	if err != nil {
		return usageError(err.Error(), "choose boards as vgpuctl simulate --help shows them")
	}
	w := &world{mount: c.Mount, host: host, socket: cmp.Or(c.Socket, c.Mount+".sock")}
	switch {
	case c.Libvirt:
		w.libvirt = vgputest.New(host)
	case c.Socket != "":
		return usageError("--socket is that of a libvirt, which is not asked for", "give --libvirt too")
	}
	if err := w.open(); err != nil {
		return err
	}
	return errors.Join(w.serve(g), w.close())
}

// world is a simulated host that other programs see: its files, and its libvirt if
// it has one.
type world struct {
	mount   string
	host    *mdevtest.Host
	files   *simfs.Server
	socket  string
	libvirt *vgputest.Hypervisor // nil: none
	clients *socket              // nil: none
}

// open mounts the host, and has its libvirt's socket listened on.
func (w *world) open() (err error) {
	if w.libvirt != nil {
		if w.clients, err = listen(w.socket); err != nil {
			return err
		}
	}
	if w.files, err = mountHost(w.mount, w.host, w.libvirt); err != nil {
		return errors.Join(err, w.clients.Close())
	}
	return nil
}

// serve says that all is there, and returns when it is interrupted or unmounted.
func (w *world) serve(g *globals) error {
	ctx, cancel := context.WithCancel(g.ctx)
	defer cancel()
	go func() {
		w.files.Wait()
		cancel()
	}()
	if err := w.tell(g); err != nil {
		return errors.Join(err, w.clients.Close())
	}
	if w.libvirt == nil {
		<-ctx.Done()
		return nil
	}
	return w.libvirt.Serve(ctx, w.clients) // which closes them
}

// tell prints the flags that lead to the simulated host.
func (w *world) tell(g *globals) error {
	gpus := w.host.GPUs()
	if w.libvirt == nil {
		return g.line(map[string]any{"mount": w.mount, "gpus": gpus}, "%s: %s; ctrl-C unmounts", w.mount, strings.Join(gpus, ", "))
	}
	uri := w.clients.uri()
	return g.line(
		map[string]any{"mount": w.mount, "gpus": gpus, "socket": w.socket, "connect": uri},
		"%s: %s; ctrl-C unmounts\n--root %s --connect %s", w.mount, strings.Join(gpus, ", "), quoted(w.mount), quoted(uri))
}

// close unmounts.
func (w *world) close() error {
	if err := w.files.Close(); err != nil {
		return &ownError{err.Error(), "umount it, then umount " + w.mount, err}
	}
	return nil
}

// mountHost mounts a host on a directory, which it makes if need be.
func mountHost(dir string, host *mdevtest.Host, libvirt *vgputest.Hypervisor) (*simfs.Server, error) {
	_, err := os.Stat(dir)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, &ownError{err.Error(), "name a directory that can be made", err}
		}
	}
	server, err := simfs.Mount(dir, host, libvirt)
	if errors.Is(err, syscall.ENOTEMPTY) {
		return nil, usageError(dir+" is not empty, and a mount would hide what is in it", "name an empty directory; umount "+dir+" if a simulation is mounted there")
	}
	if err != nil {
		return nil, &ownError{err.Error(), "name an empty directory, and run as root; umount " + dir + " if something is mounted there", err}
	}
	return server, nil
}

// quoted is a word as a shell reads it.
func quoted(word string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%,"
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
