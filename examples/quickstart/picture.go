package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/vgpukit/vgpukit/domain/virt"
)

// picture saves the VM's display, once the firmware has given the vGPU its place in
// memory.
func picture(ctx context.Context, conn *virt.Conn, vm string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for about := ""; !strings.Contains(about, " at 0x"); {
		text, err := conn.Monitor(ctx, vm, "info pci")
		if err != nil {
			return err
		}
		_, about, _ = strings.Cut(text, "Bus  0, device   8, function 0:")
		about, _, _ = strings.Cut(about, "  Bus")
	}
	image, mime, err := conn.Screenshot(ctx, vm, 0)
	if err != nil {
		return err
	}
	fmt.Printf("its display is in quickstart.png (%s)\n", mime)
	return os.WriteFile("quickstart.png", image, 0o644)
}
