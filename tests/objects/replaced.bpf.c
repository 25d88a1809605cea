/* A program, and others that replace or trace functions of it. */
#include "helpers.h"

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
	return ctx->data < ctx->data_end;
}

SEC("?freplace/replaceable")
int misfit(struct xdp_md *ctx, int more)
{
	return more;
}

SEC("?fentry/replaceable")
int traced(unsigned long long *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
