// Package simfs mounts a simulated GPU host, so that shells and other programs
// see it as files.
//
//	server, err := simfs.Mount("/mnt/sim", mdevtest.New(board), nil)
//	...
//	err = server.Close()
//
// Below the mount are sys/, dev/ and proc/ of the host, with its errnos; etc/, run/ and var/,
// directories of the mount's own, in memory, where mdevctl keeps its definitions and
// vgpuctl its state; and sim/control, which plays what files cannot: see [Server].
// Nodes of dev/ are plain files here, because a device node would lead past the
// simulation to this machine's devices; opening one is exclusive as with VFIO groups.
package simfs
