/* Functions that catch what a program throws. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_experimental.h>

__attribute__((noinline)) int caught(__u64 cookie)
{
	return cookie & 1;
}

SEC("xdp") __exception_cb(caught) int throws(struct xdp_md *ctx)
{
	if (ctx->data_end > 3)
		bpf_throw(3);
	return 1;
}

SEC("xdp") __exception_cb(nowhere) int not_there(struct xdp_md *ctx)
{
	return 1;
}

SEC("xdp") int plain(struct xdp_md *ctx)
{
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
