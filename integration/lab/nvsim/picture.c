// SPDX-License-Identifier: GPL-2.0-only
/*
 * The picture that proves which vGPU a VM has: a caption over a pattern in
 * the vGPU's own colours. The first row of pixels holds the caption's bytes
 * too, three in each pixel, ended by a NUL, for programs to read.
 */
#include <linux/jhash.h>
#include <linux/string.h>

#include "nvsim.h"

#define SCALE	2
#define LEFT	24
#define TOP	64
#define LINE	(NV_GLYPH_HEIGHT * SCALE * 2)
#define COLUMN	((NV_GLYPH_WIDTH + 1) * SCALE)
#define INK	0x00ffffff
#define TILE	40

static void background(u32 *picture, u32 hash)
{
	u32 colours[2] = { (hash & 0x3f3f3f) + 0x101010,
			   (hash >> 2 & 0x3f3f3f) + 0x181818 };
	unsigned int x, y;

	for (y = 0; y < NV_HEIGHT; y++)
		for (x = 0; x < NV_WIDTH; x++)
			picture[y * NV_WIDTH + x] =
				colours[(x / TILE + y / TILE) & 1];
}

static void block(u32 *at)
{
	unsigned int x, y;

	for (y = 0; y < SCALE; y++)
		for (x = 0; x < SCALE; x++)
			at[y * NV_WIDTH + x] = INK;
}

static void letter(u32 *at, char c)
{
	const u8 *rows = nv_glyph(c);
	unsigned int x, y;

	for (y = 0; y < NV_GLYPH_HEIGHT; y++)
		for (x = 0; x < NV_GLYPH_WIDTH; x++)
			if (rows[y] & (1 << (NV_GLYPH_WIDTH - 1 - x)))
				block(at + y * SCALE * NV_WIDTH + x * SCALE);
}

static void caption(u32 *picture, const char *text)
{
	unsigned int x = LEFT, y = TOP;

	for (; *text; text++) {
		if (*text == '\n') {
			x = LEFT;
			y += LINE;
		} else if (x + COLUMN <= NV_WIDTH) {
			letter(picture + y * NV_WIDTH + x, *text);
			x += COLUMN;
		}
	}
}

static void strip(u32 *picture, const char *text, size_t size)
{
	size_t i;

	memset(picture, 0, NV_WIDTH * sizeof(*picture));
	for (i = 0; i < size && i < NV_WIDTH * 3; i++)
		picture[i / 3] |= (u32)(u8)text[i] << (16 - i % 3 * 8);
}

void nv_picture_paint(struct nv_vgpu *v)
{
	char text[384];
	int n;

	lockdep_assert_held(&v->lock);

	n = scnprintf(text, sizeof(text),
		      "%s\nGPU %s\ntype %u %s\nframebuffer %u MiB\nvGPU %s\nVM %s\n\nscratch %08x %08x\n",
		      v->gpu->board->model, pci_name(v->gpu->pdev), v->type->id,
		      v->type->name, v->type->framebuffer, nv_vgpu_name(v),
		      v->vm_name, le32_to_cpu(v->dev.scratch[0]),
		      le32_to_cpu(v->dev.scratch[1]));
	background(v->picture, jhash(nv_vgpu_name(v), strlen(nv_vgpu_name(v)),
				     v->type->id));
	caption(v->picture, text);
	strip(v->picture, text, n);
}
