package vgputest

import (
	"context"
	"os"

	rpc "github.com/vgpukit/vgpukit/internal/libvirtrpc"
)

// What the daemon says that it is.
const (
	libvirtVersion = 11_003_000
	qemuVersion    = 10_000_002

	hostCPUs   = 16
	hostMemory = 64 << 20 // KiB
)

// capabilities say that the host runs 64-bit x86 guests.
const capabilities = `<capabilities>
  <host>
    <uuid>7b8ff9d4-6a53-4a0b-9d7a-8a6f3a0b7c11</uuid>
    <cpu>
      <arch>x86_64</arch>
      <model>host</model>
    </cpu>
  </host>
  <guest>
    <os_type>hvm</os_type>
    <arch name='x86_64'>
      <wordsize>64</wordsize>
      <emulator>/usr/bin/qemu-system-x86_64</emulator>
      <machine maxCpus='255'>pc</machine>
      <machine maxCpus='288'>q35</machine>
      <domain type='qemu'/>
      <domain type='kvm'/>
    </arch>
  </guest>
</capabilities>
`

// features are those that the daemon has of what clients ask for (virDrvFeature).
// libvirtd has migration and the passing of descriptors too.
var features = map[int32]bool{
	9:  true, // parameters may be strings
	10: true, // signs of life
	11: true, // migratable documents
	14: true, // events by callback
	15: true, // notice of a closing connection
}

func (c *client) connectOpen(_ context.Context, a *rpc.OpenArgs) (rpc.Void, error) {
	if err := checkFlags(a.Flags, rpc.ReadOnly|rpc.NoAliases, "virConnectOpen"); err != nil {
		return rpc.Void{}, err
	}
	c.readOnly.Store(a.Flags&rpc.ReadOnly != 0)
	c.opened.Store(true)
	return rpc.Void{}, nil
}

func (c *client) connectClose(_ context.Context, _ *rpc.Void) (rpc.Void, error) {
	c.opened.Store(false)
	return rpc.Void{}, nil
}

func (*client) supportsFeature(_ context.Context, a *rpc.Number) (rpc.Number, error) {
	return number(features[a.N]), nil
}

func (c *client) connectURI(_ context.Context, _ *rpc.Void) (rpc.Text, error) {
	return rpc.Text{Text: c.h.URI()}, nil
}

func (*client) hostname(context.Context, *rpc.Void) (rpc.Text, error) {
	name, err := os.Hostname()
	return rpc.Text{Text: name}, err
}

func (*client) maxVcpus(context.Context, *rpc.OptionalText) (rpc.Number, error) {
	return rpc.Number{N: hostCPUs}, nil
}

func nodeInfo() rpc.NodeInfo {
	n := rpc.NodeInfo{Memory: hostMemory, CPUs: hostCPUs, MHz: 2000, Nodes: 1, Sockets: 1, Cores: hostCPUs, Threads: 1}
	for i, r := range "x86_64" {
		n.Model[i] = int8(r)
	}
	return n
}

func number(yes bool) rpc.Number {
	if yes {
		return rpc.Number{N: 1}
	}
	return rpc.Number{}
}
