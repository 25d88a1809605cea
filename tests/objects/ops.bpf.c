/* struct_ops: a table of programs for the kernel, one of them only if asked for. */
#include "helpers.h"

struct bpf_dummy_ops_state {
	int val;
};

struct bpf_dummy_ops {
	int (*test_1)(struct bpf_dummy_ops_state *cb);
	int (*test_2)(struct bpf_dummy_ops_state *cb, int a1, unsigned short a2, char a3,
		      unsigned long a4);
	int (*test_sleepable)(struct bpf_dummy_ops_state *cb);
};

/* as an author knew it who had another field, which stays zero */
struct bpf_dummy_ops___wide {
	int (*test_1)(struct bpf_dummy_ops_state *cb);
	u64 not_in_any_kernel;
};

struct bpf_dummy_ops___gone {
	int (*no_such_hook)(struct bpf_dummy_ops_state *cb);
};

SEC("struct_ops/test_1")
int first(u64 *ctx)
{
	return ctx[0] ? 3 : 4;
}

SEC("struct_ops/test_2")
int second(u64 *ctx)
{
	return ctx[1] + (unsigned short)ctx[2];
}

SEC("struct_ops.s/test_sleepable")
int sleeps(u64 *ctx)
{
	return 9;
}

SEC("struct_ops/unused")
int optional_only(u64 *ctx)
{
	return 1;
}

SEC(".struct_ops")
struct bpf_dummy_ops table = {
	.test_1 = (void *)first,
	.test_2 = (void *)second,
	.test_sleepable = (void *)sleeps,
};

SEC(".struct_ops.link")
struct bpf_dummy_ops___wide wide = {
	.test_1 = (void *)first,
};

SEC("?.struct_ops")
struct bpf_dummy_ops optional = {
	.test_1 = (void *)optional_only,
};

SEC("?.struct_ops")
struct bpf_dummy_ops___gone gone = {
	.no_such_hook = (void *)optional_only,
};

char LICENSE[] SEC("license") = "GPL";
