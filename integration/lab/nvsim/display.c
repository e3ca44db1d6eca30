// SPDX-License-Identifier: GPL-2.0-only
/* The display plane: a region that holds the picture. */
#include <drm/drm_fourcc.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "nvsim.h"

long nv_display_query(struct nv_vgpu *v, void __user *arg)
{
	struct vfio_device_gfx_plane_info info;
	size_t minsz = offsetofend(struct vfio_device_gfx_plane_info, region_index);

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;
	if (info.flags == (VFIO_GFX_PLANE_TYPE_PROBE | VFIO_GFX_PLANE_TYPE_REGION))
		return 0;
	if (info.flags != VFIO_GFX_PLANE_TYPE_REGION)
		return -EINVAL;

	mutex_lock(&v->lock);
	if (v->repaint)
		nv_picture_paint(v);
	v->repaint = false;
	mutex_unlock(&v->lock);

	info.drm_format = DRM_FORMAT_XRGB8888;
	info.drm_format_mod = DRM_FORMAT_MOD_LINEAR;
	info.width = NV_WIDTH;
	info.height = NV_HEIGHT;
	info.stride = NV_WIDTH * sizeof(u32);
	info.size = info.stride * info.height;
	info.x_pos = 0;
	info.y_pos = 0;
	info.x_hot = 0;
	info.y_hot = 0;
	info.region_index = VFIO_PCI_NUM_REGIONS;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

/* The picture lives as long as the device is open, and so does a mapping. */
int nv_display_mmap(struct nv_vgpu *v, struct vm_area_struct *vma)
{
	if (vma->vm_flags & VM_WRITE)
		return -EPERM;
	vm_flags_clear(vma, VM_MAYWRITE);
	return remap_vmalloc_range(vma, v->picture, vma->vm_pgoff);
}
