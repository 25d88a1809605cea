// SPDX-License-Identifier: BSD-2-Clause
// Tail calls: one program looks at the protocol and jumps to the program for it. A tail call does
// not return; if there is no program in the slot, the caller goes on.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

enum slot { IPV4, IPV6, SLOTS };

int on_ipv4(struct xdp_md *ctx);
int on_ipv6(struct xdp_md *ctx);

// The loader fills the slots with the programs named here.
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, SLOTS);
	__uint(key_size, sizeof(__u32));
	__array(values, int(struct xdp_md *));
} handlers SEC(".maps") = {
	.values = {
		[IPV4] = (void *)&on_ipv4,
		[IPV6] = (void *)&on_ipv6,
	},
};

__u64 seen_ipv4, seen_ipv6, seen_other;

SEC("xdp")
int on_ipv4(struct xdp_md *ctx)
{
	seen_ipv4++;
	return XDP_PASS;
}

SEC("xdp")
int on_ipv6(struct xdp_md *ctx)
{
	seen_ipv6++;
	return XDP_TX;
}

SEC("xdp")
int entry(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		bpf_tail_call_static(ctx, &handlers, IPV4);
	else if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		bpf_tail_call(ctx, &handlers, IPV6);
	seen_other++;
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
