/* Arguments of probes on each machine: the structs are that machine's, cut to what is used. */
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32, __wsum;

#define __VMLINUX_H__ /* registers are named as the kernel's own struct names them */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs,
		flags, sp, ss;
};
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
	__u64 regs[31], sp, pc, pstate;
};
#elif defined(__TARGET_ARCH_arm)
struct pt_regs {
	unsigned long uregs[18];
};
#elif defined(__TARGET_ARCH_s390)
typedef struct {
	unsigned long args[1];
	struct {
		unsigned long mask, addr;
	} psw;
	unsigned long gprs[16];
} user_pt_regs;
#elif defined(__TARGET_ARCH_riscv)
struct user_regs_struct {
	unsigned long pc, ra, sp, gp, tp, t0, t1, t2, s0, s1, a0, a1, a2, a3, a4, a5, a6, a7;
};
#elif defined(__TARGET_ARCH_powerpc)
struct pt_regs {
	unsigned long gpr[32], nip, msr, orig_gpr3, ctr, link;
};
#elif defined(__TARGET_ARCH_mips)
struct pt_regs {
	unsigned long regs[32], cp0_status, hi, lo, cp0_badvaddr, cp0_cause, cp0_epc;
};
#elif defined(__TARGET_ARCH_loongarch)
struct user_pt_regs {
	unsigned long regs[32], orig_a0, csr_era, csr_badv;
};
#endif
#pragma clang attribute pop

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

long seen[8];

SEC("kprobe/entry")
int BPF_KPROBE(entry, long a, long b, long c, long d)
{
	seen[0] = a;
	seen[1] = b;
	seen[2] = c;
	seen[3] = d;
	return 0;
}

SEC("kretprobe/result")
int BPF_KRETPROBE(result, long value)
{
	seen[0] = value;
	return 0;
}

SEC("ksyscall/call")
int BPF_KSYSCALL(call, long a, long b, long c, long d, long e, long f)
{
	seen[0] = a;
	seen[1] = b;
	seen[2] = c;
	seen[3] = d;
	seen[4] = e;
	seen[5] = f;
	return 0;
}

SEC("kprobe/others")
int others(struct pt_regs *ctx)
{
	seen[0] = PT_REGS_RET(ctx);
	seen[1] = PT_REGS_SP(ctx);
	seen[2] = PT_REGS_IP(ctx);
	seen[3] = PT_REGS_RC_CORE(ctx);
	seen[4] = PT_REGS_PARM2_CORE(ctx);
	return 0;
}

#ifndef __TARGET_ARCH_powerpc
SEC("kprobe/frame")
int frame(struct pt_regs *ctx)
{
	return PT_REGS_FP(ctx);
}
#endif

char LICENSE[] SEC("license") = "Dual BSD/GPL";
