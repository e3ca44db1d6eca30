// SPDX-License-Identifier: GPL-2.0-only
/* A PCI bus in software: one root bus for each board of the parameter. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "nvbus.h"

#define MAX_BOARDS 16

static char *gpu[MAX_BOARDS];
static unsigned int boards;
module_param_array(gpu, charp, &boards, 0444);
MODULE_PARM_DESC(gpu, "boards: BUS:DEVICE[:VFS][:node=N][:mdev|vfio][:old][:mig],...");

struct nvbus {
	struct pci_sysdata sysdata;	/* first: the architecture looks here */
	struct nvbus_board board;
	struct nvbus_config config;
	struct resource busn;
	struct pci_bus *root;
};

static struct nvbus *buses[MAX_BOARDS];

static struct nvbus *to_nvbus(struct pci_bus *bus)
{
	return container_of(to_pci_sysdata(bus), struct nvbus, sysdata);
}

static int bus_read(struct pci_bus *bus, unsigned int devfn, int where,
		    int size, u32 *val)
{
	return nvbus_config_read(&to_nvbus(bus)->config, devfn, where, size, val);
}

static int bus_write(struct pci_bus *bus, unsigned int devfn, int where,
		     int size, u32 val)
{
	return nvbus_config_write(&to_nvbus(bus)->config, devfn, where, size, val);
}

static struct pci_ops bus_ops = {
	.read = bus_read,
	.write = bus_write,
};

const struct nvbus_board *nvbus_board(struct pci_dev *pdev)
{
	if (pdev->bus->ops != &bus_ops || pdev->devfn)
		return NULL;
	return &to_nvbus(pdev->bus)->board;
}
EXPORT_SYMBOL_GPL(nvbus_board);

static int add_bus(struct nvbus *b)
{
	LIST_HEAD(resources);

	/* The only resource. Without a bus range there would be no VFs. */
	b->busn = (struct resource){
		.name = "nvbus",
		.start = b->board.bus,
		.end = b->board.bus,
		.flags = IORESOURCE_BUS,
	};
	pci_add_resource(&resources, &b->busn);

	pci_lock_rescan_remove();
	if (pci_find_bus(0, b->board.bus)) {
		pr_err("bus %02x is taken\n", b->board.bus);
		pci_free_resource_list(&resources);
		pci_unlock_rescan_remove();
		return -EBUSY;
	}
	b->root = pci_create_root_bus(NULL, b->board.bus, &bus_ops, &b->sysdata,
				      &resources);
	if (!b->root) {
		pci_free_resource_list(&resources);
		pci_unlock_rescan_remove();
		return -ENOMEM;
	}
	pci_scan_child_bus(b->root);
	pci_bus_add_devices(b->root);
	pci_unlock_rescan_remove();
	return 0;
}

static struct nvbus *new_bus(char *spec)
{
	struct nvbus *b = kzalloc(sizeof(*b), GFP_KERNEL);
	char *copy = kstrdup(spec, GFP_KERNEL);
	int ret = -ENOMEM;

	if (!b || !copy)
		goto fail;
	ret = nvbus_parse(copy, &b->board);
	if (ret) {
		pr_err("board '%s' not understood (%d)\n", spec, ret);
		goto fail;
	}
	b->sysdata.node = b->board.node;
	nvbus_config_init(&b->config, &b->board);
	ret = add_bus(b);
	if (ret)
		goto fail;
	kfree(copy);
	return b;
fail:
	kfree(copy);
	kfree(b);
	return ERR_PTR(ret);
}

static void del_bus(struct nvbus *b)
{
	pci_lock_rescan_remove();
	pci_stop_root_bus(b->root);
	pci_remove_root_bus(b->root);
	pci_unlock_rescan_remove();
	kfree(b);
}

static void nvbus_exit(void)
{
	int i = boards;

	while (i--)
		if (!IS_ERR_OR_NULL(buses[i]))
			del_bus(buses[i]);
}

static int __init nvbus_init(void)
{
	int i;

	for (i = 0; i < boards; i++) {
		buses[i] = new_bus(gpu[i]);
		if (IS_ERR(buses[i])) {
			int ret = PTR_ERR(buses[i]);

			nvbus_exit();
			return ret;
		}
	}
	return 0;
}

module_init(nvbus_init);
module_exit(nvbus_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("PCI bus in software, with simulated NVIDIA boards");
