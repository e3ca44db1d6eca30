// SPDX-License-Identifier: GPL-2.0-only
/* VFIO migration, STOP_COPY only: the device's state, for a vGPU of its type. */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "nvsim.h"

#define STREAM_MAGIC	0x4750564e	/* NVPG */
#define STREAM_VERSION	1

struct header {
	__le32 magic;
	__le32 version;
	__le32 device;
	__le32 type;
};

struct stream {
	struct header header;
	struct nv_device_state state;
};

/* Outlives the vGPU when its reader does, so it points to nothing. */
struct nv_migration_file {
	struct file *filp;
	struct mutex lock;
	bool dead;
	size_t at;
	struct header expected;
	struct stream stream;
};

static struct header header_of(struct nv_vgpu *v)
{
	return (struct header){
		.magic = cpu_to_le32(STREAM_MAGIC),
		.version = cpu_to_le32(STREAM_VERSION),
		.device = cpu_to_le32(v->gpu->board->device),
		.type = cpu_to_le32(v->type->id),
	};
}

static ssize_t save_read(struct file *filp, char __user *buf, size_t count,
			 loff_t *ppos)
{
	struct nv_migration_file *f = filp->private_data;
	ssize_t n;

	mutex_lock(&f->lock);
	n = min(count, sizeof(f->stream) - f->at);
	if (f->dead)
		n = -ENODEV;
	else if (copy_to_user(buf, (u8 *)&f->stream + f->at, n))
		n = -EFAULT;
	else
		f->at += n;
	mutex_unlock(&f->lock);
	return n;
}

static ssize_t resume_write(struct file *filp, const char __user *buf,
			    size_t count, loff_t *ppos)
{
	struct nv_migration_file *f = filp->private_data;
	ssize_t n = count;

	mutex_lock(&f->lock);
	if (f->dead)
		n = -ENODEV;
	else if (count > sizeof(f->stream) - f->at)
		n = -EINVAL;
	else if (copy_from_user((u8 *)&f->stream + f->at, buf, count))
		n = -EFAULT;
	else
		f->at += n;
	/* refuse a stranger's state at once: the VM's load then fails */
	if (n > 0 && f->at >= sizeof(struct header) &&
	    memcmp(&f->stream.header, &f->expected, sizeof(f->expected)))
		n = -EINVAL;
	mutex_unlock(&f->lock);
	return n;
}

static int file_release(struct inode *inode, struct file *filp)
{
	struct nv_migration_file *f = filp->private_data;

	mutex_destroy(&f->lock);
	kfree(f);
	return 0;
}

static const struct file_operations save_fops = {
	.owner = THIS_MODULE,
	.read = save_read,
	.release = file_release,
};

static const struct file_operations resume_fops = {
	.owner = THIS_MODULE,
	.write = resume_write,
	.release = file_release,
};

static struct file *new_file(struct nv_vgpu *v, bool save)
{
	struct nv_migration_file *f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);

	if (!f)
		return ERR_PTR(-ENOMEM);
	mutex_init(&f->lock);
	f->expected = header_of(v);
	if (save) {
		f->stream.header = f->expected;
		f->stream.state = v->dev;
	}
	f->filp = anon_inode_getfile("[nvidia-vgpu-migration]",
				     save ? &save_fops : &resume_fops, f,
				     save ? O_RDONLY : O_WRONLY);
	if (IS_ERR(f->filp)) {
		struct file *err = f->filp;

		kfree(f);
		return err;
	}
	stream_open(f->filp->f_inode, f->filp);
	get_file(f->filp);	/* one for us, one for the caller */
	v->mig_file = f;
	return f->filp;
}

static void end_file(struct nv_vgpu *v)
{
	struct nv_migration_file *f = v->mig_file;

	if (!f)
		return;
	mutex_lock(&f->lock);
	f->dead = true;
	mutex_unlock(&f->lock);
	v->mig_file = NULL;
	fput(f->filp);
}

static int load(struct nv_vgpu *v)
{
	struct nv_migration_file *f = v->mig_file;
	int ret = 0;

	mutex_lock(&f->lock);
	if (f->at != sizeof(f->stream) ||
	    memcmp(&f->stream.header, &f->expected, sizeof(f->expected)))
		ret = -EINVAL;
	else
		v->dev = f->stream.state;
	mutex_unlock(&f->lock);
	v->repaint = true;
	return ret;
}

/* One arc of the state machine that include/uapi/linux/vfio.h describes. */
static struct file *step(struct nv_vgpu *v, enum vfio_device_mig_state to)
{
	enum vfio_device_mig_state from = v->mig_state;
	int ret;

	if (from == VFIO_DEVICE_STATE_STOP && to == VFIO_DEVICE_STATE_STOP_COPY)
		return new_file(v, true);
	if (from == VFIO_DEVICE_STATE_STOP && to == VFIO_DEVICE_STATE_RESUMING)
		return new_file(v, false);
	if (from == VFIO_DEVICE_STATE_RESUMING) {
		ret = load(v);
		if (ret)
			return ERR_PTR(ret);
	}
	end_file(v);
	return NULL;
}

static struct file *set_state(struct vfio_device *vdev,
			      enum vfio_device_mig_state to)
{
	struct nv_vgpu *v = container_of(vdev, struct nv_vgpu, vdev);
	enum vfio_device_mig_state next;
	struct file *filp = NULL;
	int ret;

	mutex_lock(&v->lock);
	while (v->mig_state != to) {
		ret = vfio_mig_get_next_state(vdev, v->mig_state, to, &next);
		filp = ret ? ERR_PTR(ret) : step(v, next);
		if (IS_ERR(filp))
			break;
		v->mig_state = next;
		if (WARN_ON(filp && next != to)) {
			fput(filp);
			filp = ERR_PTR(-EINVAL);
			break;
		}
	}
	mutex_unlock(&v->lock);
	return filp;
}

static int get_state(struct vfio_device *vdev, enum vfio_device_mig_state *state)
{
	struct nv_vgpu *v = container_of(vdev, struct nv_vgpu, vdev);

	mutex_lock(&v->lock);
	*state = v->mig_state;
	mutex_unlock(&v->lock);
	return 0;
}

static int get_data_size(struct vfio_device *vdev, unsigned long *size)
{
	*size = sizeof(struct stream);
	return 0;
}

void nv_migration_reset(struct nv_vgpu *v)
{
	mutex_lock(&v->lock);
	end_file(v);
	v->mig_state = VFIO_DEVICE_STATE_RUNNING;
	mutex_unlock(&v->lock);
}

const struct vfio_migration_ops nv_migration_ops = {
	.migration_set_state = set_state,
	.migration_get_state = get_state,
	.migration_get_data_size = get_data_size,
};
