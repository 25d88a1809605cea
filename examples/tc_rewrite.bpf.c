// SPDX-License-Identifier: BSD-2-Clause
// tc: send packets for one address to another, as a small NAT. IP and TCP checksums cover the
// address, so both are corrected by the difference, without reading the payload.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define IP_AT ETH_HLEN
#define TCP_AT (IP_AT + sizeof(struct iphdr))

// new destinations by old ones, both in network byte order
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 128);
	__type(key, __be32);
	__type(value, __be32);
} destinations SEC(".maps");

SEC("tc")
int tc_rewrite(struct __sk_buff *skb)
{
	struct iphdr ip;

	// Helpers copy from and into packets of any shape; pointers would see only their linear part.
	if (skb->protocol != bpf_htons(ETH_P_IP) || bpf_skb_load_bytes(skb, IP_AT, &ip, sizeof(ip)))
		return TC_ACT_OK;
	if (ip.ihl != 5 || ip.protocol != IPPROTO_TCP)
		return TC_ACT_OK;

	__be32 old = ip.daddr, *new = bpf_map_lookup_elem(&destinations, &old);

	if (!new)
		return TC_ACT_OK;
	// The TCP checksum includes the addresses (BPF_F_PSEUDO_HDR); 4 bytes change.
	if (bpf_l4_csum_replace(skb, TCP_AT + offsetof(struct tcphdr, check), old, *new,
				BPF_F_PSEUDO_HDR | 4) ||
	    bpf_l3_csum_replace(skb, IP_AT + offsetof(struct iphdr, check), old, *new, 4) ||
	    bpf_skb_store_bytes(skb, IP_AT + offsetof(struct iphdr, daddr), new, 4, 0))
		return TC_ACT_SHOT;
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
