/* As programs were written before BTF: map definitions as data, everything inline. */
#include "helpers.h"

struct bpf_map_def {
	u32 type, key_size, value_size, max_entries, map_flags;
#ifdef LONG_DEFINITION
	u32 inner_map_idx, numa_node;
#endif
};

struct bpf_map_def SEC("maps") hits = { .type = 2, .key_size = 4, .value_size = 8, .max_entries = 3 };
struct bpf_map_def SEC("maps") names = { .type = 1, .key_size = 4, .value_size = 16, .max_entries = 10 };

u32 step = 2;

SEC("socket")
int count(void *ctx)
{
	u32 key = 1;
	u64 *value = map_lookup(&hits, &key);

	if (value)
		__sync_fetch_and_add(value, step);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
