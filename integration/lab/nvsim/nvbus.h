/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef NVBUS_H
#define NVBUS_H

#include <linux/pci.h>

#define NVBUS_VENDOR	0x10de
#define NVBUS_MAX_VFS	240
#define NVBUS_CFG_SIZE	4096

enum nvbus_framework {
	NVBUS_USUAL,	/* what the board has on most hosts */
	NVBUS_MDEV,
	NVBUS_VFIO,
};

/* One board, as the module parameter describes it. */
struct nvbus_board {
	u8 bus;
	u16 device;
	u16 total_vfs;
	int node;
	enum nvbus_framework framework;
	bool old;	/* driver generation: a GPU takes one type only */
	bool mig;
};

/* A board's functions: 00.0 is the PF, the VFs follow from 00.4 on. */
struct nvbus_config {
	const struct nvbus_board *board;
	u8 pf[NVBUS_CFG_SIZE];
	u8 vf[NVBUS_CFG_SIZE];
};

/* The board of a physical function of ours, NULL for any other. */
const struct nvbus_board *nvbus_board(struct pci_dev *pdev);

int nvbus_parse(char *spec, struct nvbus_board *board);
bool nvbus_display_class(u16 device);

void nvbus_config_init(struct nvbus_config *cfg, const struct nvbus_board *board);
int nvbus_config_read(struct nvbus_config *cfg, unsigned int devfn, int where,
		      int size, u32 *val);
int nvbus_config_write(struct nvbus_config *cfg, unsigned int devfn, int where,
		       int size, u32 val);

#endif
