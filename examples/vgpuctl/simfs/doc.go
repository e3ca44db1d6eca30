// Package simfs mounts a simulated GPU host, so that shells and other programs
// see it as files.
//
//	server, err := simfs.Mount("/mnt/sim", mdevtest.New(board))
//	...
//	err = server.Close()
//
// Below the mount are sys/, dev/ and proc/ of the host, with its errnos; etc/, a
// writable directory of the mount's own, which mdevctl can use; and sim/control,
// which plays what files cannot: see [Server]. Nodes of dev/ are plain files here, because a
// device node would lead past the simulation to this machine's devices; opening
// one is exclusive as with VFIO groups.
package simfs
