// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device as VFIO shows it: configuration space, one trapped BAR and a
 * region with the picture. No interrupts.
 */
#include <linux/uaccess.h>

#include "nvsim.h"

#define REGION_SHIFT	40
#define REGION_MASK	((1ULL << REGION_SHIFT) - 1)
#define REGION_PICTURE	VFIO_PCI_NUM_REGIONS
#define NUM_REGIONS	(VFIO_PCI_NUM_REGIONS + 1)

/* BAR0's registers; all others read 0 */
#define REG_BOOT0	0x0000
#define REG_SCRATCH	0x1000
#define REG_TYPE	0x1100
#define REG_FRAMEBUFFER	0x1104

static u64 region_size(unsigned int index)
{
	switch (index) {
	case VFIO_PCI_CONFIG_REGION_INDEX:
		return NV_CONFIG_SIZE;
	case VFIO_PCI_BAR0_REGION_INDEX:
		return NV_BAR0_SIZE;
	case REGION_PICTURE:
		return NV_PICTURE_SIZE;
	}
	return 0;
}

static u32 bar_read(struct nv_vgpu *v, u32 reg)
{
	switch (reg) {
	case REG_BOOT0:
		return v->gpu->board->boot0;
	case REG_TYPE:
		return v->type->id;
	case REG_FRAMEBUFFER:
		return v->type->framebuffer;
	}
	reg -= REG_SCRATCH;
	if (reg < sizeof(v->dev.scratch))
		return le32_to_cpu(v->dev.scratch[reg / 4]);
	return 0;
}

static void bar_write(struct nv_vgpu *v, u32 off, const u8 *val, unsigned int n)
{
	off -= REG_SCRATCH;
	if (off >= sizeof(v->dev.scratch))
		return;
	memcpy((u8 *)v->dev.scratch + off, val, n);
	v->repaint = true;
}

/* At most a doubleword, which off and n do not leave. */
static void get(struct nv_vgpu *v, unsigned int index, u32 off, u8 *val,
		unsigned int n)
{
	__le32 reg;

	mutex_lock(&v->lock);
	if (index == VFIO_PCI_CONFIG_REGION_INDEX) {
		memcpy(val, v->dev.config + off, n);
	} else if (index == VFIO_PCI_BAR0_REGION_INDEX) {
		reg = cpu_to_le32(bar_read(v, off & ~3));
		memcpy(val, (u8 *)&reg + (off & 3), n);
	} else {
		memcpy(val, (u8 *)v->picture + off, n);
	}
	mutex_unlock(&v->lock);
}

static void put(struct nv_vgpu *v, unsigned int index, u32 off, const u8 *val,
		unsigned int n)
{
	mutex_lock(&v->lock);
	if (index == VFIO_PCI_CONFIG_REGION_INDEX)
		nv_config_write(v, off, val, n);
	else if (index == VFIO_PCI_BAR0_REGION_INDEX)
		bar_write(v, off, val, n);
	mutex_unlock(&v->lock);
}

static ssize_t region_rw(struct nv_vgpu *v, char __user *buf, size_t count,
			 loff_t *ppos, bool write)
{
	unsigned int index = *ppos >> REGION_SHIFT;
	u64 off = *ppos & REGION_MASK, size = region_size(index);
	size_t done, n;
	u8 val[4];

	if (off >= size || (write && index == REGION_PICTURE))
		return -EINVAL;
	count = min(count, size - off);
	for (done = 0; done < count; done += n, off += n) {
		n = min(count - done, 4 - (off & 3));
		if (write) {
			if (copy_from_user(val, buf + done, n))
				return -EFAULT;
			put(v, index, off, val, n);
		} else {
			get(v, index, off, val, n);
			if (copy_to_user(buf + done, val, n))
				return -EFAULT;
		}
	}
	*ppos += count;
	return count;
}

static ssize_t nv_read(struct vfio_device *vdev, char __user *buf, size_t count,
		       loff_t *ppos)
{
	struct nv_vgpu *v = container_of(vdev, struct nv_vgpu, vdev);

	return region_rw(v, buf, count, ppos, false);
}

static ssize_t nv_write(struct vfio_device *vdev, const char __user *buf,
			size_t count, loff_t *ppos)
{
	struct nv_vgpu *v = container_of(vdev, struct nv_vgpu, vdev);

	return region_rw(v, (char __user *)buf, count, ppos, true);
}

static long device_info(void __user *arg)
{
	struct vfio_device_info info;
	size_t minsz = offsetofend(struct vfio_device_info, num_irqs);

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;
	info.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
	info.num_regions = NUM_REGIONS;
	info.num_irqs = VFIO_PCI_NUM_IRQS;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

static long region_info(void __user *arg)
{
	struct vfio_region_info info;
	size_t minsz = offsetofend(struct vfio_region_info, offset);

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz || info.index >= NUM_REGIONS)
		return -EINVAL;
	info.cap_offset = 0;
	info.offset = (u64)info.index << REGION_SHIFT;
	info.size = region_size(info.index);
	info.flags = 0;
	if (info.index == REGION_PICTURE)
		info.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_MMAP;
	else if (info.size)
		info.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

static long reset(struct nv_vgpu *v)
{
	mutex_lock(&v->lock);
	nv_config_init(v);
	mutex_unlock(&v->lock);
	nv_migration_reset(v);
	return 0;
}

static long nv_ioctl(struct vfio_device *vdev, unsigned int cmd, unsigned long arg)
{
	struct nv_vgpu *v = container_of(vdev, struct nv_vgpu, vdev);

	switch (cmd) {
	case VFIO_DEVICE_GET_INFO:
		return device_info((void __user *)arg);
	case VFIO_DEVICE_GET_REGION_INFO:
		return region_info((void __user *)arg);
	case VFIO_DEVICE_GET_IRQ_INFO:
	case VFIO_DEVICE_SET_IRQS:
		return -EINVAL;
	case VFIO_DEVICE_QUERY_GFX_PLANE:
		return nv_display_query(v, (void __user *)arg);
	case VFIO_DEVICE_RESET:
		return reset(v);
	}
	return -ENOTTY;
}

static int nv_mmap(struct vfio_device *vdev, struct vm_area_struct *vma)
{
	struct nv_vgpu *v = container_of(vdev, struct nv_vgpu, vdev);

	if (vma->vm_pgoff >> (REGION_SHIFT - PAGE_SHIFT) != REGION_PICTURE)
		return -EINVAL;
	vma->vm_pgoff &= REGION_MASK >> PAGE_SHIFT;
	return nv_display_mmap(v, vma);
}

static int nv_open(struct vfio_device *vdev)
{
	return nv_vgpu_open(container_of(vdev, struct nv_vgpu, vdev));
}

static void nv_close(struct vfio_device *vdev)
{
	nv_vgpu_close(container_of(vdev, struct nv_vgpu, vdev));
}

const struct vfio_device_ops nv_vfio_ops = {
	.name = "nvidia-vgpu-vfio",
	.open_device = nv_open,
	.close_device = nv_close,
	.read = nv_read,
	.write = nv_write,
	.ioctl = nv_ioctl,
	.mmap = nv_mmap,
	.bind_iommufd = vfio_iommufd_emulated_bind,
	.unbind_iommufd = vfio_iommufd_emulated_unbind,
	.attach_ioas = vfio_iommufd_emulated_attach_ioas,
	.detach_ioas = vfio_iommufd_emulated_detach_ioas,
};
