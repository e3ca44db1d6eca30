// SPDX-License-Identifier: GPL-2.0-only
/* VFs, made and removed through sriov_numvfs by who holds the unbind lock. */
#include "nvsim.h"

/*
 * sriov-manage takes the unbind lock (proc.c) first. A raw write to
 * sriov_numvfs does not, and gets what a driver without the callback gives.
 */
int nv_sriov_configure(struct pci_dev *pdev, int num_vfs)
{
	struct nv_gpu *gpu = pci_get_drvdata(pdev);
	int ret = 0;

	mutex_lock(&gpu->lock);
	if (!gpu->unbind_locked) {
		ret = -ENOENT;
	} else if (num_vfs && gpu->sriov_fail) {
		ret = -EIO;
	} else {
		nv_mig_wipe(gpu);
		gpu->mixed = false;
	}
	mutex_unlock(&gpu->lock);
	if (ret)
		return ret;

	/* Blocks while a VM has a VF open. */
	if (!num_vfs) {
		pci_disable_sriov(pdev);
		return 0;
	}
	return pci_enable_sriov(pdev, num_vfs) ?: num_vfs;
}
