package lab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
)

// writeOverlay makes a disk that reads as the raw image backing until it is written to: a
// qcow2 file (docs/interop/qcow2.rst in QEMU's source) with nothing in it yet.
func writeOverlay(name, backing string) error {
	backing, err := filepath.Abs(backing)
	if err != nil {
		return err
	}
	info, err := os.Stat(backing)
	if err != nil {
		return err
	}
	const (
		clusterBits = 16
		cluster     = 1 << clusterBits
		perL2       = cluster * cluster / 8 // bytes that one L2 table maps
	)
	l1Entries := (info.Size() + perL2 - 1) / perL2
	if l1Entries > cluster/8 || len(backing) > 1023 {
		return fmt.Errorf("a disk of %d bytes at %s can't back an overlay", info.Size(), backing)
	}

	// The extension that names the backing file's format, the end of extensions, the name.
	var tail bytes.Buffer
	put := func(v any) { _ = binary.Write(&tail, binary.BigEndian, v) } // a bytes.Buffer takes all
	put(uint32(0xe2792aca))
	put(uint32(len("raw")))
	tail.WriteString("raw\x00\x00\x00\x00\x00")
	put(uint64(0))
	const headerLength = 104
	nameOffset := headerLength + tail.Len()
	tail.WriteString(backing)

	header := struct {
		Magic, Version                  uint32
		BackingOffset                   uint64
		BackingSize, ClusterBits        uint32
		Size                            uint64
		Crypt, L1Size                   uint32
		L1Offset, RefcountOffset        uint64
		RefcountClusters, Snapshots     uint32
		SnapshotsOffset                 uint64
		Incompatible, Compatible, Clear uint64
		RefcountOrder, Length           uint32
	}{
		Magic: 0x514649fb, Version: 3,
		BackingOffset: uint64(nameOffset), BackingSize: uint32(len(backing)),
		ClusterBits: clusterBits, Size: uint64(info.Size()),
		L1Size: uint32(l1Entries), L1Offset: 3 * cluster,
		RefcountOffset: cluster, RefcountClusters: 1,
		RefcountOrder: 4, Length: headerLength,
	}
	file := make([]byte, 4*cluster)
	var head bytes.Buffer
	_ = binary.Write(&head, binary.BigEndian, header)
	copy(file, append(head.Bytes(), tail.Bytes()...))
	binary.BigEndian.PutUint64(file[cluster:], 2*cluster) // the refcount table: one block
	for i := range 4 {
		binary.BigEndian.PutUint16(file[2*cluster+2*i:], 1) // which counts these clusters
	}
	return os.WriteFile(name, file, 0o600)
}
