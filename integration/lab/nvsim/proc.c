// SPDX-License-Identifier: GPL-2.0-only
/*
 * /proc/driver/nvidia: gpus/<address>/information and unbindLock, and under
 * capabilities the files that MIG is used by: of the host, and of GPU instances
 * gpu<minor>/mig/gi<id>/access.
 */
#include <linux/idr.h>
#include <linux/kstrtox.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

#include "nvsim.h"

static struct proc_dir_entry *nvidia, *gpus, *capabilities;
static DEFINE_IDA(minors);

#define CONFIG_MINOR	1
#define MONITOR_MINOR	2

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
	unsigned long minor = (unsigned long)s->private;

	/* to configure MIG is root's alone */
	seq_printf(s, "DeviceFileMinor: %lu\nDeviceFileMode: %u\nDeviceFileModify: 1\n",
		   minor, minor == CONFIG_MINOR ? 0400 : 0444);
	return 0;
}

static bool add_access(const char *name, struct proc_dir_entry *dir, unsigned long minor)
{
	return proc_create_single_data(name, 0444, dir, access_show, (void *)minor);
}

/* Shows a GPU instance, or shows it no more. */
void nv_proc_instance(struct nv_gpu *gpu, unsigned int id)
{
	struct nv_gpu_instance *gi = &gpu->instances[id];
	char name[8];

	lockdep_assert_held(&gpu->lock);

	proc_remove(gi->proc);
	gi->proc = NULL;
	if (!gi->profile)
		return;
	snprintf(name, sizeof(name), "gi%u", id);
	gi->proc = proc_mkdir(name, gpu->mig_proc);
	if (gi->proc)
		add_access("access", gi->proc, 3 + 9 * id + 128 * gpu->minor);
}

/* The directory of GPU instances is there in any mode, and on boards without MIG. */
static bool add_capabilities(struct nv_gpu *gpu)
{
	char name[16];

	snprintf(name, sizeof(name), "gpu%d", gpu->minor);
	gpu->capabilities = proc_mkdir(name, capabilities);
	if (gpu->capabilities)
		gpu->mig_proc = proc_mkdir("mig", gpu->capabilities);
	return gpu->mig_proc;
}

int nv_proc_add(struct nv_gpu *gpu)
{
	gpu->minor = ida_alloc(&minors, GFP_KERNEL);
	if (gpu->minor < 0)
		return gpu->minor;
	gpu->proc = proc_mkdir(pci_name(gpu->pdev), gpus);
	if (gpu->proc && add_capabilities(gpu) &&
	    proc_create_single_data("information", 0444, gpu->proc,
				    information_show, gpu) &&
	    proc_create_data("unbindLock", 0644, gpu->proc, &unbind_lock_ops, gpu))
		return 0;
	nv_proc_remove(gpu);
	return -ENOMEM;
}

void nv_proc_remove(struct nv_gpu *gpu)
{
	proc_remove(gpu->capabilities);
	proc_remove(gpu->proc);
	ida_free(&minors, gpu->minor);
}

int nv_proc_init(void)
{
	struct proc_dir_entry *mig;

	nvidia = proc_mkdir("driver/nvidia", NULL);
	if (nvidia) {
		gpus = proc_mkdir("gpus", nvidia);
		capabilities = proc_mkdir("capabilities", nvidia);
	}
	mig = capabilities ? proc_mkdir("mig", capabilities) : NULL;
	if (gpus && mig && add_access("config", mig, CONFIG_MINOR) &&
	    add_access("monitor", mig, MONITOR_MINOR))
		return 0;
	nv_proc_exit();
	return -ENOMEM;
}

void nv_proc_exit(void)
{
	proc_remove(nvidia);
}
