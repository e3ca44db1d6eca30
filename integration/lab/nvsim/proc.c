// SPDX-License-Identifier: GPL-2.0-only
/*
 * /proc/driver/nvidia: gpus/<address>/information and unbindLock, and for GPU
 * instances capabilities/gpu<minor>/mig/gi<id>/access.
 */
#include <linux/idr.h>
#include <linux/kstrtox.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

#include "nvsim.h"

static struct proc_dir_entry *nvidia, *gpus, *capabilities;
static DEFINE_IDA(minors);

static int information_show(struct seq_file *s, void *unused)
{
	struct nv_gpu *gpu = s->private;
	u32 id = gpu->board->device << 16 | pci_dev_id(gpu->pdev);

	seq_printf(s, "Model: \t\t %s\n", gpu->board->model);
	seq_puts(s, "IRQ:   \t\t 0\n");
	seq_printf(s, "GPU UUID: \t GPU-%08x-10de-4e56-8053-494d%08x\n", id, id);
	seq_puts(s, "Bus Type: \t PCIe\n");
	seq_printf(s, "Bus Location: \t %s\n", pci_name(gpu->pdev));
	seq_printf(s, "Device Minor: \t %d\n", gpu->minor);
	seq_puts(s, "GPU Excluded:\t No\n");
	return 0;
}

static int unbind_lock_show(struct seq_file *s, void *unused)
{
	struct nv_gpu *gpu = s->private;

	seq_printf(s, "%d\n", READ_ONCE(gpu->unbind_locked));
	return 0;
}

static int unbind_lock_open(struct inode *inode, struct file *file)
{
	return single_open(file, unbind_lock_show, pde_data(inode));
}

/* As NVIDIA's: the write succeeds always; read back whether one has the lock. */
static ssize_t unbind_lock_write(struct file *file, const char __user *ubuf,
				 size_t count, loff_t *ppos)
{
	struct nv_gpu *gpu = pde_data(file_inode(file));
	bool lock;
	int ret = kstrtobool_from_user(ubuf, count, &lock);

	if (ret)
		return ret;
	mutex_lock(&gpu->lock);
	gpu->unbind_locked = lock && !gpu->held && !nv_gpu_in_use(gpu);
	mutex_unlock(&gpu->lock);
	return count;
}

static const struct proc_ops unbind_lock_ops = {
	.proc_open = unbind_lock_open,
	.proc_read = seq_read,
	.proc_write = unbind_lock_write,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
};

static int access_show(struct seq_file *s, void *unused)
{
	seq_puts(s, "DeviceFileMode: 256\nDeviceFileModify: 1\n");
	return 0;
}

/* Shows the GPU's instances, as many as there are now. */
void nv_proc_instances(struct nv_gpu *gpu)
{
	struct proc_dir_entry *dir;
	char name[24];
	unsigned int i;

	proc_remove(gpu->instances_dir);
	gpu->instances_dir = NULL;
	if (!gpu->num_instances)
		return;
	snprintf(name, sizeof(name), "gpu%d", gpu->minor);
	gpu->instances_dir = proc_mkdir(name, capabilities);
	dir = gpu->instances_dir ? proc_mkdir("mig", gpu->instances_dir) : NULL;
	for (i = 0; dir && i < gpu->num_instances; i++) {
		struct proc_dir_entry *gi;

		snprintf(name, sizeof(name), "gi%u", i + 1);
		gi = proc_mkdir(name, dir);
		if (gi)
			proc_create_single("access", 0444, gi, access_show);
	}
}

int nv_proc_add(struct nv_gpu *gpu)
{
	gpu->minor = ida_alloc(&minors, GFP_KERNEL);
	if (gpu->minor < 0)
		return gpu->minor;
	gpu->proc = proc_mkdir(pci_name(gpu->pdev), gpus);
	if (gpu->proc &&
	    proc_create_single_data("information", 0444, gpu->proc,
				    information_show, gpu) &&
	    proc_create_data("unbindLock", 0644, gpu->proc, &unbind_lock_ops, gpu))
		return 0;
	nv_proc_remove(gpu);
	return -ENOMEM;
}

void nv_proc_remove(struct nv_gpu *gpu)
{
	proc_remove(gpu->instances_dir);
	proc_remove(gpu->proc);
	ida_free(&minors, gpu->minor);
}

int nv_proc_init(void)
{
	nvidia = proc_mkdir("driver/nvidia", NULL);
	if (nvidia) {
		gpus = proc_mkdir("gpus", nvidia);
		capabilities = proc_mkdir("capabilities", nvidia);
	}
	if (gpus && capabilities)
		return 0;
	nv_proc_exit();
	return -ENOMEM;
}

void nv_proc_exit(void)
{
	proc_remove(nvidia);
}
