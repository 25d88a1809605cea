/* Programs that name parts of the kernel: its functions, its variables, another program. */
#include "helpers.h"

struct rq;
extern const struct rq runqueues __ksym;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;

SEC("xdp")
int guarded(struct xdp_md *ctx)
{
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	return &runqueues ? 2 : 1;
}

__noinline int replaceable(struct xdp_md *ctx)
{
	volatile int result = 2;

	return result;
}

SEC("xdp")
int caller(struct xdp_md *ctx)
{
	return replaceable(ctx);
}

SEC("?freplace/replaceable")
int replacement(struct xdp_md *ctx)
{
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
