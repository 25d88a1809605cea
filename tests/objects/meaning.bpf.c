/* Programs whose results say what the macros of our headers mean; run by the tests. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_experimental.h>

enum { LIMIT = 5 };

struct point {
	__u32 x, y;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct point);
} points SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} first SEC(".maps"), second SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { [1] = &second } };

int jumped(void *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 3);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} jumps SEC(".maps") = { .values = { [2] = (void *)&jumped } };

__u16 swapped16;
__u32 swapped32;
__u64 swapped64, swapped64_back;
char text[64];
long text_length;
__u64 words[6];
int printed;

SEC("raw_tp")
int endian(void *ctx)
{
	volatile __u16 a = 0x1122;
	volatile __u32 b = 0x11223344;
	volatile __u64 c = 0x1122334455667788;

	swapped16 = bpf_htons(a);
	swapped32 = bpf_ntohl(b);
	swapped64 = bpf_cpu_to_be64(c);
	swapped64_back = bpf_be64_to_cpu(swapped64);
	/* constants must be constants: these are case labels */
	switch (swapped16) {
	case bpf_htons(0x1122):
		return swapped32 == bpf_htonl(0x11223344);
	case bpf_ntohs(0x3344):
		return 2;
	}
	return 3;
}

SEC("raw_tp")
int print(void *ctx)
{
	char name[] = "seven";

	text_length = BPF_SNPRINTF(text, sizeof(text), "%s %d %u %llx", name, -7, 7, 0x77777777777LL);
	bpf_printk("none");
	bpf_printk("three %d %d %d", 1, 2, 3);
	bpf_printk("five %d %d %d %d %d", 1, 2, 3, 4, 5);
	printed = 1;
	return 0;
}

SEC("raw_tp")
int BPF_PROG(named, __u8 a, int b, struct point *c, long d)
{
	words[0] = a;
	words[1] = b;
	words[2] = (unsigned long)c;
	words[3] = d;
	return ctx[1] == (__u32)b;
}

struct pair {
	__u64 low, high;
};

SEC("raw_tp")
int BPF_PROG2(structs, __u8, a, struct pair, b, struct point, c, short, d)
{
	words[0] = a;
	words[1] = b.low;
	words[2] = b.high;
	words[3] = c.x;
	words[4] = c.y;
	words[5] = d;
	return 0;
}

SEC("raw_tp")
int BPF_PROG2(nothing)
{
	return ctx != 0;
}

SEC("xdp")
int jumped(void *ctx)
{
	return 42;
}

SEC("xdp")
int jump(void *ctx)
{
	bpf_tail_call_static(ctx, &jumps, 2);
	return 1;
}

SEC("xdp")
int jump_into_nothing(void *ctx)
{
	bpf_tail_call_static(ctx, &jumps, 0);
	return 7;
}

static __noinline int subprogram(struct point *point)
{
	return container_of(&point->y, struct point, y)->x + offsetof(struct point, y);
}

__weak int global(struct point *point __arg_nonnull)
{
	return point->x;
}

SEC("raw_tp")
int calls(void *ctx)
{
	struct point point = { .x = 3, .y = 4 };

	barrier();
	return subprogram(&point) * 10 + global(&point);
}

SEC("raw_tp")
int nested(void *ctx)
{
	__u32 key = 1, zero = 0;
	void *inner = bpf_map_lookup_elem(&outer, &key);
	__u64 *value = inner ? bpf_map_lookup_elem(inner, &zero) : 0;

	if (value)
		*value = 11;
	return !!value;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
