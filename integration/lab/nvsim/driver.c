// SPDX-License-Identifier: GPL-2.0-only
/* The PCI driver named nvidia, of GPUs and of their virtual functions. */
#include <linux/module.h>
#include <linux/slab.h>

#include "nvsim.h"

static struct pci_driver nv_driver;

struct nv_gpu *nv_gpu_of(struct pci_dev *pdev)
{
	return pci_get_drvdata(pci_physfn(pdev));
}

static void gpu_setup(struct nv_gpu *gpu, struct pci_dev *pdev,
		      const struct nvbus_board *spec)
{
	gpu->pdev = pdev;
	gpu->framework = gpu->board->framework;
	if (gpu->board->sriov && spec->framework != NVBUS_USUAL)
		gpu->framework = spec->framework;
	gpu->old = spec->old;
	gpu->mig = spec->mig && gpu->board->slices;
	mutex_init(&gpu->lock);
	INIT_LIST_HEAD(&gpu->vgpus);
}

static int probe_pf(struct pci_dev *pdev)
{
	const struct nvbus_board *spec = nvbus_board(pdev);
	struct nv_gpu *gpu;
	int ret;

	if (!spec)
		return -ENODEV;	/* real hardware is not ours */
	gpu = kzalloc(sizeof(*gpu), GFP_KERNEL);
	if (!gpu)
		return -ENOMEM;
	gpu->board = nv_board_find(pdev->device);
	gpu_setup(gpu, pdev, spec);
	pci_set_drvdata(pdev, gpu);

	ret = nv_proc_add(gpu);
	if (ret)
		goto free;
	if (!gpu->board->sriov) {
		gpu->parent = nv_parent_add(gpu, pdev);
		ret = PTR_ERR_OR_ZERO(gpu->parent);
		if (ret)
			goto proc;
	}
	return 0;
proc:
	nv_proc_remove(gpu);
free:
	kfree(gpu);
	return ret;
}

static void remove_pf(struct pci_dev *pdev)
{
	struct nv_gpu *gpu = pci_get_drvdata(pdev);

	pci_disable_sriov(pdev);
	if (gpu->parent)
		nv_parent_remove(gpu->parent);
	nv_proc_remove(gpu);
	kfree(gpu);
}

static int probe_vf(struct pci_dev *pdev)
{
	struct nv_gpu *gpu = pci_iov_get_pf_drvdata(pdev, &nv_driver);
	struct nv_parent *parent;

	if (IS_ERR(gpu))
		return PTR_ERR(gpu);
	if (gpu->framework == NVBUS_VFIO)
		return nv_vf_add(gpu, pdev);
	parent = nv_parent_add(gpu, pdev);
	if (IS_ERR(parent))
		return PTR_ERR(parent);
	pci_set_drvdata(pdev, parent);
	return 0;
}

static void remove_vf(struct pci_dev *pdev)
{
	if (nv_gpu_of(pdev)->framework == NVBUS_VFIO)
		nv_vf_remove(pdev);
	else
		nv_parent_remove(pci_get_drvdata(pdev));
}

static int nv_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return pdev->is_virtfn ? probe_vf(pdev) : probe_pf(pdev);
}

static void nv_remove(struct pci_dev *pdev)
{
	if (pdev->is_virtfn)
		remove_vf(pdev);
	else
		remove_pf(pdev);
}

static const struct attribute_group *nv_groups[] = {
	&nv_knobs_group,
	&nv_vf_group,
	NULL,
};

static const struct pci_device_id nv_ids[] = {
	{ PCI_DEVICE(NVBUS_VENDOR, 0x13f2) },
	{ PCI_DEVICE(NVBUS_VENDOR, 0x1db4) },
	{ PCI_DEVICE(NVBUS_VENDOR, 0x1eb8) },
	{ PCI_DEVICE(NVBUS_VENDOR, 0x2235) },
	{ PCI_DEVICE(NVBUS_VENDOR, 0x20f1) },
	{ PCI_DEVICE(NVBUS_VENDOR, 0x26b9) },
	{ PCI_DEVICE(NVBUS_VENDOR, 0x2bb5) },
	{ }
};
MODULE_DEVICE_TABLE(pci, nv_ids);

static struct pci_driver nv_driver = {
	.name = "nvidia",
	.id_table = nv_ids,
	.probe = nv_probe,
	.remove = nv_remove,
	.sriov_configure = nv_sriov_configure,
	.driver_managed_dma = true,
	.dev_groups = nv_groups,
};

static int __init nvsim_init(void)
{
	int ret = nv_proc_init();

	if (ret)
		return ret;
	ret = mdev_register_driver(&nv_mdev_driver);
	if (ret)
		goto proc;
	ret = pci_register_driver(&nv_driver);
	if (ret)
		goto mdev;
	return 0;
mdev:
	mdev_unregister_driver(&nv_mdev_driver);
proc:
	nv_proc_exit();
	return ret;
}

static void __exit nvsim_exit(void)
{
	pci_unregister_driver(&nv_driver);
	mdev_unregister_driver(&nv_mdev_driver);
	nv_proc_exit();
}

module_init(nvsim_init);
module_exit(nvsim_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Simulation of NVIDIA's vGPU host driver");
