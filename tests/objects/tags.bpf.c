/* Global functions whose parameter is said to be the context by a tag. */
#include "helpers.h"

#define __arg_ctx __attribute__((btf_decl_tag("arg:ctx")))
#define __arg_nonnull __attribute__((btf_decl_tag("arg:nonnull")))

struct __sk_buff {
	u32 len;
};

__noinline __weak int by_tag(void *ctx __arg_ctx, int more)
{
	volatile int result = more;

	return ctx ? result : 1;
}

__noinline __weak int already(struct xdp_md *ctx __arg_ctx)
{
	volatile int result = 2;

	return ctx ? result : 1;
}

__noinline __weak int untagged(int more)
{
	volatile int result = more;

	return result;
}

SEC("xdp")
int on_packet(struct xdp_md *ctx)
{
	return by_tag(ctx, 3) + already(ctx) + untagged(0);
}

SEC("tc")
int on_buffer(struct __sk_buff *skb)
{
	return by_tag(skb, 3);
}

char LICENSE[] SEC("license") = "GPL";
