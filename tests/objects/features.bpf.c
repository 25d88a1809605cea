/* One of everything that an object file may hold; what it computes is asserted by the tests. */
#include "helpers.h"

struct key {
	u32 id;
	u16 port;
	u8 tag[2];
};

struct value {
	u64 count;
	char name[16];
};

enum verdict { ABORTED, DROP, PASS };

struct event {
	u32 number;
	enum verdict verdict;
	u64 sum;
};

struct event *event_type; /* BTF holds only types that something global leads to */

struct {
	__uint(type, 1); /* hash */
	__uint(max_entries, 64);
	__type(key, struct key);
	__type(value, struct value);
} table SEC(".maps");

struct {
	__uint(type, 2); /* array */
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__uint(value_size, 8);
	__uint(map_flags, 1024);
} plain SEC(".maps");

struct {
	__uint(type, 6); /* per-CPU array */
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, u64);
} per_cpu SEC(".maps");

struct {
	__uint(type, 27); /* ring buffer; the loader rounds the size up */
	__uint(max_entries, 5000);
} events SEC(".maps");

struct {
	__uint(type, 4); /* perf event array; the loader sets the size */
	__type(key, int);
	__type(value, int);
} perf SEC(".maps");

struct {
	__uint(type, 22); /* queue */
	__uint(max_entries, 8);
	__type(value, u32);
} queue SEC(".maps");

struct {
	__uint(type, 1);
	__uint(max_entries, 1);
	__uint(pinning, 1);
	__uint(numa_node, 0);
	__type(key, u8);
	__type(value, u8);
} pinned SEC(".maps");

struct inner {
	__uint(type, 2);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} inner_a SEC(".maps"), inner_b SEC(".maps");

struct {
	__uint(type, 12); /* array of maps */
	__uint(max_entries, 4);
	__type(key, u32);
	__array(values, struct inner);
} outer SEC(".maps") = {
	.values = { [0] = &inner_a, [2] = &inner_b },
};

int tail(struct xdp_md *ctx);

struct {
	__uint(type, 3); /* program array */
	__uint(max_entries, 3);
	__uint(key_size, 4);
	__array(values, int(struct xdp_md *));
} programs SEC(".maps") = {
	.values = { [1] = &tail },
};

const volatile u32 limit = 7;
const volatile struct value defaults = { .count = 3, .name = "default" };
const volatile u16 config SEC(".rodata.config") = 0x1234;
u64 counter;
u32 start = 40;
enum verdict last_verdict;
static volatile u32 hidden_total = 5;
u32 cold SEC(".data.cold") = 9;
u32 zeroed[3] SEC(".bss.more");

static __noinline u32 add(u32 a, u32 b)
{
	hidden_total += a;
	return a + b;
}

__noinline u32 twice(u32 a)
{
	return add(a, a);
}

static long each(u32 index, u64 *sum)
{
	*sum += index + limit;
	return 0;
}

static long each_entry(void *map, u32 *key, u64 *value, u64 *sum)
{
	*sum += *value;
	return 0;
}

SEC("xdp")
int first(struct xdp_md *ctx)
{
	u64 sum = 0;

	counter++;
	loop(4, each, &sum, 0);
	last_verdict = PASS;
	return twice(start) + sum;
}

SEC("xdp")
int second(struct xdp_md *ctx)
{
	struct key key = { .id = 1, .port = 80, .tag = "ab" };
	struct value *value = map_lookup(&table, &key);
	u32 zero = 0;
	u64 *mine = map_lookup(&per_cpu, &zero);

	if (mine)
		*mine += 1;
	cold++;
	zeroed[1] = config;
	return value ? value->count : 99;
}

SEC("xdp")
int send(struct xdp_md *ctx)
{
	struct event event = { .number = limit, .verdict = DROP, .sum = counter };
	struct event *more = ringbuf_reserve(&events, sizeof(*more), 0);
	u32 number = 11;

	if (more) {
		*more = event;
		more->sum = ~0ULL;
		ringbuf_submit(more, 0);
	}
	more = ringbuf_reserve(&events, 100, 0);
	if (more)
		ringbuf_discard(more, 0);
	map_push(&queue, &number, 0);
	perf_event_output(ctx, &perf, 0xffffffffULL, &event, sizeof(event));
	return ringbuf_output(&events, &event, sizeof(event), 0) ? 1 : 2;
}

SEC("xdp")
int tail(struct xdp_md *ctx)
{
	return 77;
}

SEC("xdp")
int jump(struct xdp_md *ctx)
{
	tail_call(ctx, &programs, 1);
	return 1;
}

SEC("xdp")
int nested(struct xdp_md *ctx)
{
	u32 two = 2, zero = 0;
	void *map = map_lookup(&outer, &two);
	u64 sum = 0, *value;

	if (!map)
		return 1;
	value = map_lookup(map, &zero);
	if (value)
		*value = 5;
	for_each_map_elem(&plain, each_entry, &sum, 0);
	return sum;
}

SEC("?tc")
int not_by_itself(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
u32 VERSION SEC("version") = 0x060c00;
