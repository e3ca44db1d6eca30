// SPDX-License-Identifier: GPL-2.0-only
/* Configuration space of the boards' functions. */
#include <linux/unaligned.h>

#include "nvbus.h"

#define PCIE_CAP	0x40
#define SRIOV_CAP	0x100
#define VF_OFFSET	4
#define VF_STRIDE	1
#define PAGE_SIZES	0x553
#define HDA_ENABLE	0x488	/* the kernel's quirk looks here for an audio function */

static void put16(u8 *cfg, int where, u16 val)
{
	put_unaligned_le16(val, cfg + where);
}

static void put32(u8 *cfg, int where, u32 val)
{
	put_unaligned_le32(val, cfg + where);
}

static void init_common(u8 *cfg, const struct nvbus_board *board)
{
	cfg[PCI_REVISION_ID] = 0xa1;
	put16(cfg, PCI_CLASS_DEVICE, nvbus_display_class(board->device) ?
	      PCI_CLASS_DISPLAY_VGA : PCI_CLASS_DISPLAY_3D);
	put16(cfg, PCI_SUBSYSTEM_VENDOR_ID, NVBUS_VENDOR);
	put16(cfg, PCI_SUBSYSTEM_ID, board->device);
	put16(cfg, PCI_STATUS, PCI_STATUS_CAP_LIST);
	cfg[PCI_CAPABILITY_LIST] = PCIE_CAP;

	cfg[PCIE_CAP] = PCI_CAP_ID_EXP;
	put16(cfg, PCIE_CAP + PCI_EXP_FLAGS, 2 | PCI_EXP_TYPE_ENDPOINT << 4);
	put32(cfg, PCIE_CAP + PCI_EXP_DEVCAP, PCI_EXP_DEVCAP_RBER);
	put32(cfg, PCIE_CAP + PCI_EXP_LNKCAP,
	      PCI_EXP_LNKCAP_SLS_8_0GB | 16 << 4);
	put16(cfg, PCIE_CAP + PCI_EXP_LNKSTA,
	      PCI_EXP_LNKSTA_CLS_8_0GB | 16 << PCI_EXP_LNKSTA_NLW_SHIFT);
}

static void init_sriov(u8 *cfg, const struct nvbus_board *board)
{
	put32(cfg, SRIOV_CAP, PCI_EXT_CAP_ID_SRIOV | 1 << 16);
	put16(cfg, SRIOV_CAP + PCI_SRIOV_INITIAL_VF, board->total_vfs);
	put16(cfg, SRIOV_CAP + PCI_SRIOV_TOTAL_VF, board->total_vfs);
	put16(cfg, SRIOV_CAP + PCI_SRIOV_VF_OFFSET, VF_OFFSET);
	put16(cfg, SRIOV_CAP + PCI_SRIOV_VF_STRIDE, VF_STRIDE);
	put16(cfg, SRIOV_CAP + PCI_SRIOV_VF_DID, board->device);
	put32(cfg, SRIOV_CAP + PCI_SRIOV_SUP_PGSIZE, PAGE_SIZES);
	put32(cfg, SRIOV_CAP + PCI_SRIOV_SYS_PGSIZE, 1);
}

void nvbus_config_init(struct nvbus_config *cfg, const struct nvbus_board *board)
{
	cfg->board = board;
	init_common(cfg->pf, board);
	put16(cfg->pf, PCI_VENDOR_ID, NVBUS_VENDOR);
	put16(cfg->pf, PCI_DEVICE_ID, board->device);
	put32(cfg->pf, HDA_ENABLE, BIT(25));
	if (board->total_vfs)
		init_sriov(cfg->pf, board);

	/* a VF's own ids read ffff; the PF's SR-IOV capability tells them */
	init_common(cfg->vf, board);
	put32(cfg->vf, PCI_VENDOR_ID, 0xffffffff);
}

static bool vfs_enabled(const struct nvbus_config *cfg)
{
	return cfg->board->total_vfs &&
	       cfg->pf[SRIOV_CAP + PCI_SRIOV_CTRL] & PCI_SRIOV_CTRL_VFE;
}

static const u8 *function(struct nvbus_config *cfg, unsigned int devfn)
{
	u16 num;

	if (!devfn)
		return cfg->pf;
	if (devfn < VF_OFFSET || !vfs_enabled(cfg))
		return NULL;
	num = get_unaligned_le16(cfg->pf + SRIOV_CAP + PCI_SRIOV_NUM_VF);
	return devfn - VF_OFFSET < num ? cfg->vf : NULL;
}

int nvbus_config_read(struct nvbus_config *cfg, unsigned int devfn, int where,
		      int size, u32 *val)
{
	const u8 *f = function(cfg, devfn);

	if (!f) {
		*val = ~0;
		return PCIBIOS_DEVICE_NOT_FOUND;
	}
	if (where < 0 || where + size > NVBUS_CFG_SIZE)
		return PCIBIOS_BAD_REGISTER_NUMBER;

	switch (size) {
	case 1:
		*val = f[where];
		break;
	case 2:
		*val = get_unaligned_le16(f + where);
		break;
	default:
		*val = get_unaligned_le32(f + where);
	}
	return PCIBIOS_SUCCESSFUL;
}

/* The PF's registers that keep what is written. VFs have none. */
static bool writable(const struct nvbus_board *board, int where)
{
	switch (where) {
	case PCI_COMMAND:
	case PCI_CACHE_LINE_SIZE:
	case PCI_LATENCY_TIMER:
	case PCI_INTERRUPT_LINE:
	case PCIE_CAP + PCI_EXP_DEVCTL:
	case PCIE_CAP + PCI_EXP_LNKCTL:
		return true;
	case SRIOV_CAP + PCI_SRIOV_CTRL:
	case SRIOV_CAP + PCI_SRIOV_NUM_VF:
	case SRIOV_CAP + PCI_SRIOV_SYS_PGSIZE:
		return board->total_vfs;
	}
	return false;
}

int nvbus_config_write(struct nvbus_config *cfg, unsigned int devfn, int where,
		       int size, u32 val)
{
	const u8 *f = function(cfg, devfn);

	if (!f)
		return PCIBIOS_DEVICE_NOT_FOUND;
	if (f != cfg->pf || !writable(cfg->board, where))
		return PCIBIOS_SUCCESSFUL;

	switch (size) {
	case 1:
		cfg->pf[where] = val;
		break;
	case 2:
		put16(cfg->pf, where, val);
		break;
	default:
		put32(cfg->pf, where, val);
	}
	return PCIBIOS_SUCCESSFUL;
}
