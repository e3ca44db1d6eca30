// SPDX-License-Identifier: GPL-2.0-only
/* Configuration space of the device that the guest sees. */
#include <linux/unaligned.h>

#include "nvsim.h"

/* Puts the device into the state after a reset. */
void nv_config_init(struct nv_vgpu *v)
{
	const struct nv_board *board = v->gpu->board;
	u8 *c = v->dev.config;

	lockdep_assert_held(&v->lock);

	memset(&v->dev, 0, sizeof(v->dev));
	put_unaligned_le16(NVBUS_VENDOR, c + PCI_VENDOR_ID);
	put_unaligned_le16(board->device, c + PCI_DEVICE_ID);
	c[PCI_REVISION_ID] = 0xa1;
	put_unaligned_le16(nvbus_display_class(board->device) ?
			   PCI_CLASS_DISPLAY_VGA : PCI_CLASS_DISPLAY_3D,
			   c + PCI_CLASS_DEVICE);
	put_unaligned_le16(NVBUS_VENDOR, c + PCI_SUBSYSTEM_VENDOR_ID);
	put_unaligned_le16(v->type->id, c + PCI_SUBSYSTEM_ID);
	v->repaint = true;
}

static u8 write_mask(unsigned int off)
{
	switch (off) {
	case PCI_COMMAND:
		return PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	case PCI_COMMAND + 1:
		return PCI_COMMAND_INTX_DISABLE >> 8;
	case PCI_BASE_ADDRESS_0 + 3:	/* of 16 MiB only this byte moves */
	case PCI_CACHE_LINE_SIZE:
	case PCI_LATENCY_TIMER:
	case PCI_INTERRUPT_LINE:
		return 0xff;
	}
	return 0;
}

void nv_config_write(struct nv_vgpu *v, unsigned int off, const u8 *val,
		     unsigned int n)
{
	lockdep_assert_held(&v->lock);

	for (; n--; off++, val++) {
		u8 mask = write_mask(off);

		v->dev.config[off] = (v->dev.config[off] & ~mask) | (*val & mask);
	}
}
