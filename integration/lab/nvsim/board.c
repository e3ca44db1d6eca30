// SPDX-License-Identifier: GPL-2.0-only
/*
 * The boards and their vGPU types.
 *
 * Ids, names and the M60's rows are NVIDIA's. Rows of other boards whose
 * description is not known publicly are synthesised by series: four heads at
 * 60 frames for Q, 45 for B, one head at 1280x1024 for A and 4096x2160 for C.
 */
#include "nvsim.h"

#define ROW(id, name, series, heads, frl, mib, res, max) \
	{ id, name, series, heads, frl, mib, res, max, 0, NULL }
#define Q(id, name, gib, max) \
	ROW(id, name, 'Q', 4, 60, (gib) << 10, \
	    (gib) == 1 ? "5120x2880" : "7680x4320", max)
#define B(id, name, gib, max) \
	ROW(id, name, 'B', 4, 45, (gib) << 10, "5120x2880", max)
#define A(id, name, gib, max) \
	ROW(id, name, 'A', 1, 60, (gib) << 10, "1280x1024", max)
#define C(id, name, gib, max) \
	ROW(id, name, 'C', 1, 60, (gib) << 10, "4096x2160", max)
#define MIG(id, name, gib, max, slices, attribute) \
	{ id, name, 'C', 1, 60, (gib) << 10, "4096x2160", max, slices, attribute }

static const struct nv_type m60[] = {
	ROW(11, "GRID M60-0B", 'B', 2, 45, 512, "2560x1600", 16),
	ROW(12, "GRID M60-0Q", 'Q', 2, 60, 512, "2560x1600", 16),
	A(13, "GRID M60-1A", 1, 8),
	B(14, "GRID M60-1B", 1, 8),
	ROW(15, "GRID M60-1Q", 'Q', 4, 60, 1024, "5120x2880", 8),
	A(16, "GRID M60-2A", 2, 4),
	B(17, "GRID M60-2B", 2, 4),
	ROW(18, "GRID M60-2Q", 'Q', 4, 60, 2048, "5120x2880", 4),
	A(19, "GRID M60-4A", 4, 2),
	ROW(20, "GRID M60-4Q", 'Q', 4, 60, 4096, "5120x2880", 2),
	A(21, "GRID M60-8A", 8, 1),
	ROW(22, "GRID M60-8Q", 'Q', 4, 60, 8192, "5120x2880", 1),
	B(210, "GRID M60-2B4", 2, 4),
	B(238, "GRID M60-1B4", 1, 8),
};

static const struct nv_type v100[] = {
	Q(105, "GRID V100-1Q", 1, 16),
	Q(106, "GRID V100-2Q", 2, 8),
	Q(107, "GRID V100-4Q", 4, 4),
	Q(108, "GRID V100-8Q", 8, 2),
	Q(109, "GRID V100-16Q", 16, 1),
	A(110, "GRID V100-1A", 1, 16),
	A(111, "GRID V100-2A", 2, 8),
	A(112, "GRID V100-4A", 4, 4),
	A(113, "GRID V100-8A", 8, 2),
	A(114, "GRID V100-16A", 16, 1),
	B(115, "GRID V100-1B", 1, 16),
	B(163, "GRID V100-2B", 2, 8),
	B(217, "GRID V100-2B4", 2, 8),
	B(247, "GRID V100-1B4", 1, 16),
	C(299, "GRID V100-4C", 4, 4),
	C(300, "GRID V100-8C", 8, 2),
	C(301, "GRID V100-16C", 16, 1),
};

static const struct nv_type t4[] = {
	B(222, "GRID T4-1B", 1, 16),
	B(223, "GRID T4-2B", 2, 8),
	B(224, "GRID T4-2B4", 2, 8),
	A(225, "GRID T4-1A", 1, 16),
	A(226, "GRID T4-2A", 2, 8),
	A(227, "GRID T4-4A", 4, 4),
	A(228, "GRID T4-8A", 8, 2),
	A(229, "GRID T4-16A", 16, 1),
	Q(230, "GRID T4-1Q", 1, 16),
	Q(231, "GRID T4-2Q", 2, 8),
	Q(232, "GRID T4-4Q", 4, 4),
	Q(233, "GRID T4-8Q", 8, 2),
	Q(234, "GRID T4-16Q", 16, 1),
	B(252, "GRID T4-1B4", 1, 16),
	C(319, "GRID T4-4C", 4, 4),
	C(320, "GRID T4-8C", 8, 2),
	C(321, "GRID T4-16C", 16, 1),
};

/* The ten sizes of a 48 GiB board, ids counting up from first. */
#define SIZES48(M, first, board, series) \
	M((first) + 0, board "-1" series, 1, 32), \
	M((first) + 1, board "-2" series, 2, 24), \
	M((first) + 2, board "-3" series, 3, 16), \
	M((first) + 3, board "-4" series, 4, 12), \
	M((first) + 4, board "-6" series, 6, 8), \
	M((first) + 5, board "-8" series, 8, 6), \
	M((first) + 6, board "-12" series, 12, 4), \
	M((first) + 7, board "-16" series, 16, 3), \
	M((first) + 8, board "-24" series, 24, 2), \
	M((first) + 9, board "-48" series, 48, 1)

static const struct nv_type a40[] = {
	B(555, "NVIDIA A40-1B", 1, 32),
	B(556, "NVIDIA A40-2B", 2, 24),
	SIZES48(Q, 557, "NVIDIA A40", "Q"),
	SIZES48(A, 567, "NVIDIA A40", "A"),
	C(581, "NVIDIA A40-4C", 4, 12),
	C(582, "NVIDIA A40-6C", 6, 8),
	C(583, "NVIDIA A40-8C", 8, 6),
	C(584, "NVIDIA A40-12C", 12, 4),
	C(585, "NVIDIA A40-16C", 16, 3),
	C(586, "NVIDIA A40-24C", 24, 2),
	C(587, "NVIDIA A40-48C", 48, 1),
};

static const struct nv_type a100[] = {
	C(468, "NVIDIA A100-4C", 4, 10),
	C(469, "NVIDIA A100-5C", 5, 8),
	C(470, "NVIDIA A100-8C", 8, 5),
	C(471, "NVIDIA A100-10C", 10, 4),
	C(472, "NVIDIA A100-20C", 20, 2),
	C(473, "NVIDIA A100-40C", 40, 1),
	MIG(474, "NVIDIA A100-1-5C", 5, 7, 1, ""),
	MIG(475, "NVIDIA A100-2-10C", 10, 3, 2, ""),
	MIG(476, "NVIDIA A100-3-20C", 20, 2, 3, ""),
	MIG(477, "NVIDIA A100-4-20C", 20, 1, 4, ""),
	MIG(478, "NVIDIA A100-7-40C", 40, 1, 7, ""),
	MIG(706, "NVIDIA A100-1-5CME", 5, 1, 1, "+me"),
};

static const struct nv_profile a100_profiles[] = {
	{ "1g.5gb", 1, 5, 7 },
	{ "1g.5gb+me", 1, 5, 1 },
	{ "1g.10gb", 1, 10, 4 },
	{ "2g.10gb", 2, 10, 3 },
	{ "3g.20gb", 3, 20, 2 },
	{ "4g.20gb", 4, 20, 1 },
	{ "7g.40gb", 7, 40, 1 },
};

static const struct nv_type l40s[] = {
	B(1145, "NVIDIA L40S-1B", 1, 32),
	B(1146, "NVIDIA L40S-2B", 2, 24),
	SIZES48(Q, 1147, "NVIDIA L40S", "Q"),
	SIZES48(A, 1157, "NVIDIA L40S", "A"),
	B(2164, "NVIDIA L40S-3B", 3, 16),
};

/*
 * Blackwell. As many of a type as the 96 GiB hold, be it in GPU instances or not;
 * at most 32 share the time of the whole GPU. Types run in instances with graphics.
 */
#define PRO "NVIDIA RTX Pro 6000 Blackwell DC-"
#define P(id, gib, series) \
	series(id, PRO #gib #series, gib, (gib) < 3 ? 32 : 96 / (gib))
#define PMIG(id, slices, gib, series) \
	{ id, PRO #slices "-" #gib #series, #series[0], 4, 60, (gib) << 10, \
	  "7680x4320", 96 / (gib), slices, "+gfx" }
#define QA(id, gib)	P(id, gib, Q), P((id) + 1, gib, A)
#define QAC(id, gib)	QA(id, gib), P((id) + 2, gib, C)
#define MIG_QA(id, slices, gib) \
	PMIG(id, slices, gib, Q), PMIG((id) + 1, slices, gib, A)
#define MIG_QAC(id, slices, gib) \
	MIG_QA(id, slices, gib), PMIG((id) + 2, slices, gib, C)

static const struct nv_type pro6000[] = {
	P(1513, 1, B), QA(1514, 1), P(1516, 2, B), QA(1517, 2), QA(1519, 3),
	QA(1521, 4), QA(1523, 6), QAC(1525, 8), QAC(1528, 12), QAC(1531, 16),
	QAC(1534, 24), QAC(1537, 32), QAC(1540, 48), QAC(1543, 96),
	PMIG(1554, 1, 2, Q), MIG_QA(1555, 1, 3), MIG_QA(1557, 1, 4),
	MIG_QA(1559, 1, 6), MIG_QAC(1561, 1, 8), MIG_QAC(1564, 1, 12),
	MIG_QAC(1567, 1, 24),
	MIG_QAC(9101, 2, 12), MIG_QAC(9104, 2, 16), MIG_QAC(9107, 2, 24),
	MIG_QAC(9110, 2, 48),
	MIG_QAC(9113, 4, 24), MIG_QAC(9116, 4, 32), MIG_QAC(9119, 4, 48),
	MIG_QAC(9122, 4, 96),
};

static const struct nv_profile pro6000_profiles[] = {
	{ "1g.24gb", 1, 24, 4 },
	{ "1g.24gb+me", 1, 24, 1 },
	{ "1g.24gb+gfx", 1, 24, 4 },
	{ "1g.24gb+me.all", 1, 24, 1 },
	{ "1g.24gb-me", 1, 24, 4 },
	{ "2g.48gb", 2, 48, 2 },
	{ "2g.48gb+gfx", 2, 48, 2 },
	{ "2g.48gb+me.all", 2, 48, 1 },
	{ "2g.48gb-me", 2, 48, 2 },
	{ "4g.96gb", 4, 96, 1 },
	{ "4g.96gb+gfx", 4, 96, 1 },
};

#define TYPES(table) .types = table, .num_types = ARRAY_SIZE(table)
#define PROFILES(n, table) \
	.slices = n, .profiles = table, .num_profiles = ARRAY_SIZE(table)

static const struct nv_board boards[] = {
	{
		.device = 0x13f2, .model = "Tesla M60", .memory = 8,
		.framework = NVBUS_MDEV, .boot0 = 0x124000a1, TYPES(m60),
	}, {
		.device = 0x1db4, .model = "Tesla V100-PCIE-16GB", .memory = 16,
		.framework = NVBUS_MDEV, .boot0 = 0x140000a1, TYPES(v100),
	}, {
		.device = 0x1eb8, .model = "Tesla T4", .memory = 16,
		.framework = NVBUS_MDEV, .boot0 = 0x164000a1, TYPES(t4),
	}, {
		.device = 0x2235, .model = "NVIDIA A40", .memory = 48,
		.sriov = true, .framework = NVBUS_MDEV, .boot0 = 0x172000a1,
		TYPES(a40),
	}, {
		.device = 0x20f1, .model = "NVIDIA A100-PCIE-40GB", .memory = 40,
		.sriov = true, .framework = NVBUS_VFIO, .boot0 = 0x170000a1,
		TYPES(a100), PROFILES(7, a100_profiles),
	}, {
		.device = 0x26b9, .model = "NVIDIA L40S", .memory = 48,
		.sriov = true, .framework = NVBUS_VFIO, .boot0 = 0x192000a1,
		TYPES(l40s),
	}, {
		.device = 0x2bb5, .memory = 96, .sriov = true, .shared = true,
		.model = "NVIDIA RTX PRO 6000 Blackwell Server Edition",
		.framework = NVBUS_VFIO, .boot0 = 0x1b2000a1,
		TYPES(pro6000), PROFILES(4, pro6000_profiles),
	},
};

const struct nv_board *nv_board_find(u16 device)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(boards); i++)
		if (boards[i].device == device)
			return &boards[i];
	return NULL;
}

const struct nv_type *nv_type_find(const struct nv_board *board, unsigned int id)
{
	unsigned int i;

	for (i = 0; i < board->num_types; i++)
		if (board->types[i].id == id)
			return &board->types[i];
	return NULL;
}
