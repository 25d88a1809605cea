// SPDX-License-Identifier: BSD-2-Clause
// Ring buffer: report packets to user space as records of a struct, in order, from all CPUs.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

struct event {
	__u64 time; // nanoseconds since boot
	__be32 source;
	__u16 length;
	__u8 protocol;
};
struct event *event_in_btf; // so that the object's BTF has the type: user space decodes with it

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); // bytes; a power of two, at least a page
} events SEC(".maps");

__u64 lost;

SEC("xdp")
int ringbuf_events(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;

	// Write the record where it will be read: reserve, fill, submit.
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		__sync_fetch_and_add(&lost, 1);
		return XDP_PASS;
	}
	event->time = bpf_ktime_get_ns();
	event->source = ip->saddr;
	event->length = end - data;
	event->protocol = ip->protocol;
	bpf_ringbuf_submit(event, 0);
	bpf_printk("packet of %d bytes", end - data);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
