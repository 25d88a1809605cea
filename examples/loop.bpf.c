// SPDX-License-Identifier: BSD-2-Clause
// bpf_loop(): many rounds of a function that the verifier checks once. Here: how often each byte
// value occurs in a packet of any length.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u32 histogram[256];

static long count_byte(__u32 index, void *data)
{
	struct __sk_buff *skb = *(struct __sk_buff **)data;
	__u8 byte;

	if (bpf_skb_load_bytes(skb, index, &byte, 1))
		return 1; // ends the loop
	histogram[byte]++;
	return 0;
}

SEC("tc")
int loop(struct __sk_buff *skb)
{
	// The result is the number of rounds.
	return bpf_loop(skb->len, count_byte, &skb, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
