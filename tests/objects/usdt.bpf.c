/* Probes with arguments described by notes in the traced program. */
#include <linux/types.h>
#include <linux/bpf.h>

struct pt_regs {
	unsigned long r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax,
		rip, cs, eflags, rsp, ss;
};

#include <bpf/bpf_helpers.h>
#include <bpf/usdt.bpf.h>

long seen[4];

SEC("usdt//usr/bin/example:provider:probe")
int BPF_USDT(probe, int a, void *b)
{
	seen[0] = a;
	seen[1] = (long)b;
	seen[2] = bpf_usdt_arg_cnt(ctx) + bpf_usdt_arg_size(ctx, 1);
	seen[3] = bpf_usdt_cookie(ctx);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
