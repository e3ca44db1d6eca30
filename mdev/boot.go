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
	if err := ctx.Err(); err != nil {
		return "", err
	}
	id, err := h.fs.ReadFile(bootFile)
	if err != nil {
		return "", explain("read the boot id", "/"+bootFile, anyFile, err)
	}
	return strings.TrimSpace(string(id)), nil
}
