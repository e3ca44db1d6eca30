package mdev

import (
	"context"
	"strings"
)

const bootFile = "proc/sys/kernel/random/boot_id"

// Boot returns what tells this boot of the machine from another: the kernel's random
// boot id, a UUID. Mediated devices and the types of virtual functions do not outlive
// it.
func (h *Host) Boot(ctx context.Context) (string, error) {
	const op, object = "read the boot id", "/" + bootFile
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	return look(ctx, h, op, object, func(s *scan) (string, error) {
		id, err := s.fs.ReadFile(bootFile)
		if err != nil {
			return "", explain(op, object, anyFile, err)
		}
		return strings.TrimSpace(string(id)), nil
	})
}
