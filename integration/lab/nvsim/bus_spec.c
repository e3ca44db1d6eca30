// SPDX-License-Identifier: GPL-2.0-only
/* The text that describes a board: BUS:DEVICE[:OPTION]... */
#include <linux/ctype.h>
#include <linux/export.h>
#include <linux/kernel.h>
#include <linux/nodemask.h>
#include <linux/numa.h>
#include <linux/string.h>

#include "nvbus.h"

static const struct {
	u16 device;
	u16 vfs;
	bool display;
} known[] = {
	{ 0x13f2, 0, true },	/* Tesla M60 */
	{ 0x1db4, 0, false },	/* V100 16 GB */
	{ 0x1eb8, 0, false },	/* T4 */
	{ 0x2235, 32, false },	/* A40 */
	{ 0x20f1, 16, false },	/* A100 40 GB */
	{ 0x26b9, 32, false },	/* L40S */
	{ 0x2bb5, 48, false },	/* RTX PRO 6000 Blackwell */
};

static int find(u16 device)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].device == device)
			return i;
	return -1;
}

bool nvbus_display_class(u16 device)
{
	int i = find(device);

	return i >= 0 && known[i].display;
}
EXPORT_SYMBOL_GPL(nvbus_display_class);

static int parse_node(const char *text, int *node)
{
	int n, ret = kstrtoint(text, 10, &n);

	if (ret)
		return ret;
	if (n < 0 || n >= MAX_NUMNODES)
		return -ERANGE;
	/* memory is allocated on a device's node, so it must be there */
	if (!node_online(n))
		return -ENODEV;
	*node = n;
	return 0;
}

static int parse_option(const char *opt, struct nvbus_board *board)
{
	if (isdigit(*opt)) {
		int ret = kstrtou16(opt, 10, &board->total_vfs);

		if (ret)
			return ret;
		return board->total_vfs > NVBUS_MAX_VFS ? -ERANGE : 0;
	}
	if (!strncmp(opt, "node=", 5))
		return parse_node(opt + 5, &board->node);
	if (!strcmp(opt, "mdev"))
		board->framework = NVBUS_MDEV;
	else if (!strcmp(opt, "vfio"))
		board->framework = NVBUS_VFIO;
	else if (!strcmp(opt, "old"))
		board->old = true;
	else if (!strcmp(opt, "mig"))
		board->mig = true;
	else
		return -EINVAL;
	return 0;
}

/* Parses and, as strsep does, destroys spec. */
int nvbus_parse(char *spec, struct nvbus_board *board)
{
	char *word;
	int ret, i;

	*board = (struct nvbus_board){ .node = NUMA_NO_NODE };

	word = strsep(&spec, ":");
	ret = kstrtou8(word, 16, &board->bus);
	if (ret || !board->bus)
		return ret ?: -EINVAL;
	word = strsep(&spec, ":");
	if (!word)
		return -EINVAL;
	ret = kstrtou16(word, 16, &board->device);
	if (ret)
		return ret;

	i = find(board->device);
	if (i < 0)
		return -ENODEV;
	board->total_vfs = known[i].vfs;

	while ((word = strsep(&spec, ":"))) {
		ret = parse_option(word, board);
		if (ret)
			return ret;
	}
	if (board->total_vfs && !known[i].vfs)
		return -EINVAL;
	return 0;
}
