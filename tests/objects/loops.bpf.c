/* Loops over kernel iterators and with may_goto: newer kernels only. */
#include <linux/types.h>

/* <linux/bpf.h> has the iterator since Linux 6.4; with older ones this compiles, too */
#define bpf_iter_num bpf_iter_num_of_uapi
#include <linux/bpf.h>
#undef bpf_iter_num
struct bpf_iter_num {
	__u64 __opaque[1];
} __attribute__((aligned(8)));

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_experimental.h>

int rounds, repeated, items, left_early;

SEC("raw_tp")
int iterators(void *ctx)
{
	int i, *item;

	bpf_for(i, 3, 10)
		rounds += i;
	bpf_repeat(6)
		repeated++;
	bpf_for_each(num, item, 0, 100) {
		if (*item == 4)
			break;
		items += *item;
	}
	return 0;
}

SEC("raw_tp")
int conditional(void *ctx)
{
	int i, sum = 0;

	for (i = 0; i < 20 && can_loop; i++)
		sum += i;
	for (i = 0;; i++) {
		if (i == 5)
			break;
		cond_break;
		sum += 1000;
	}
	return sum;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
