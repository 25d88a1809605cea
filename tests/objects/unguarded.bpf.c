/* Calls a weak function of the kernel without asking whether it is there. */
#include "helpers.h"

extern u64 bpf_no_such_kfunc(u64 value) __ksym __weak;

SEC("xdp")
int careless(struct xdp_md *ctx)
{
	return bpf_no_such_kfunc(3);
}

char LICENSE[] SEC("license") = "GPL";
