// SPDX-License-Identifier: BSD-2-Clause
// Socket filter: of all packets keep the first 64 bytes of those that open a TCP connection.
// Such programs are attached with setsockopt(SO_ATTACH_BPF); the result is how much to keep.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define SNAP 64

SEC("socket")
int socket_filter(struct __sk_buff *skb)
{
	struct iphdr ip;
	struct tcphdr tcp;

	// Where the data begin depends on the kind of socket; the network header is always known.
	if (skb->protocol != bpf_htons(ETH_P_IP) ||
	    bpf_skb_load_bytes_relative(skb, 0, &ip, sizeof(ip), BPF_HDR_START_NET) ||
	    ip.protocol != IPPROTO_TCP)
		return 0;
	if (bpf_skb_load_bytes_relative(skb, ip.ihl * 4, &tcp, sizeof(tcp), BPF_HDR_START_NET))
		return 0;
	return tcp.syn && !tcp.ack ? SNAP : 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
