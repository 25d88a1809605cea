/* What goes wrong on the first day, and the maps that have no keys. */
#include "helpers.h"

#define MAP(name, kind, keys) \
	struct { __uint(type, kind); __uint(max_entries, 4); __uint(key_size, keys); \
		 __uint(value_size, 4); } name SEC(".maps")

MAP(queue, 22, 0);
MAP(stack, 23, 0);
MAP(bloom, 30, 0);
MAP(programs, 3, 4); /* prog_array */
MAP(groups, 8, 4);   /* cgroup_array */

static long (*const push)(void *map, const void *value, u64 flags) = (void *)87;

/* Nothing has compared the packet's end. */
SEC("xdp") int unguarded_read(struct xdp_md *ctx)
{
	unsigned char *byte = (void *)(long)ctx->data;

	return byte[40] ? 1 : 2;
}

SEC("xdp") int without_keys(struct xdp_md *ctx)
{
	u32 values[] = { 7, 8 };

	push(&queue, &values[0], 0);
	push(&stack, &values[0], 0);
	push(&queue, &values[1], 0);
	push(&stack, &values[1], 0);
	return 2;
}

/* The fault is in another program than the one that was run. */
SEC("xdp") int jumps(struct xdp_md *ctx)
{
	tail_call(ctx, &programs, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
