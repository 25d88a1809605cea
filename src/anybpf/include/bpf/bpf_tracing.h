/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bpf_tracing.h - arguments of traced functions by name: BPF_PROG for fentry, fexit, tp_btf and LSM
 * programs, BPF_KPROBE and its kin for probes, PT_REGS_* for registers. Names and meaning are those
 * of libbpf's header of the same name.
 *
 * Probes depend on the machine's registers, so the compiler must be told whose:
 * -D__TARGET_ARCH_x86, _arm64, _arm, _s390, _riscv, _powerpc, _mips or _loongarch.
 */
#ifndef __BPF_TRACING_H__
#define __BPF_TRACING_H__

#include "bpf_helpers.h"

#if !defined(__TARGET_ARCH_x86) && !defined(__TARGET_ARCH_arm64) && !defined(__TARGET_ARCH_arm) && \
	!defined(__TARGET_ARCH_s390) && !defined(__TARGET_ARCH_riscv) &&                           \
	!defined(__TARGET_ARCH_powerpc) && !defined(__TARGET_ARCH_mips) &&                         \
	!defined(__TARGET_ARCH_loongarch)
#if defined(__x86_64__) || defined(__i386__)
#define __TARGET_ARCH_x86
#elif defined(__aarch64__)
#define __TARGET_ARCH_arm64
#elif defined(__arm__)
#define __TARGET_ARCH_arm
#elif defined(__s390__)
#define __TARGET_ARCH_s390
#elif defined(__riscv)
#define __TARGET_ARCH_riscv
#elif defined(__powerpc__)
#define __TARGET_ARCH_powerpc
#elif defined(__mips__)
#define __TARGET_ARCH_mips
#elif defined(__loongarch__)
#define __TARGET_ARCH_loongarch
#endif
#endif

/*
 * For each machine: PARM1..8 are the registers of a C function's arguments, PARM1..6_SYSCALL those
 * of a system call; RC holds the result, RET the return address (x86: points to it), FP, SP and IP
 * are what they are called. __unsupported__ is no member of any struct: using it is an error.
 */
#if defined(__TARGET_ARCH_x86)

#if defined(__KERNEL__) || defined(__VMLINUX_H__)
#define __PT_PARM1_REG di
#define __PT_PARM2_REG si
#define __PT_PARM3_REG dx
#define __PT_PARM4_REG cx
#define __PT_PARM5_REG r8
#define __PT_PARM6_REG r9
#define __PT_PARM4_SYSCALL_REG r10
#define __PT_RET_REG sp
#define __PT_FP_REG bp
#define __PT_RC_REG ax
#define __PT_SP_REG sp
#define __PT_IP_REG ip
#else /* struct pt_regs of <asm/ptrace.h>, 64 bits */
#define __PT_PARM1_REG rdi
#define __PT_PARM2_REG rsi
#define __PT_PARM3_REG rdx
#define __PT_PARM4_REG rcx
#define __PT_PARM5_REG r8
#define __PT_PARM6_REG r9
#define __PT_PARM4_SYSCALL_REG r10
#define __PT_RET_REG rsp
#define __PT_FP_REG rbp
#define __PT_RC_REG rax
#define __PT_SP_REG rsp
#define __PT_IP_REG rip
#endif
#define __PT_PARM1_SYSCALL_REG __PT_PARM1_REG

#elif defined(__TARGET_ARCH_arm64)

/* the first argument of a system call is kept apart, where user_pt_regs does not show it */
struct pt_regs___arm64 {
	unsigned long orig_x0;
} __attribute__((preserve_access_index));

#define __PT_REGS_CAST(x) ((const struct user_pt_regs *)(x))
#define __PT_PARM1_REG regs[0]
#define __PT_PARM2_REG regs[1]
#define __PT_PARM3_REG regs[2]
#define __PT_PARM4_REG regs[3]
#define __PT_PARM5_REG regs[4]
#define __PT_PARM6_REG regs[5]
#define __PT_PARM7_REG regs[6]
#define __PT_PARM8_REG regs[7]
#define __PT_SYSCALL1_STRUCT pt_regs___arm64
#define __PT_PARM1_SYSCALL_REG orig_x0
#define __PT_RET_REG regs[30]
#define __PT_FP_REG regs[29]
#define __PT_RC_REG regs[0]
#define __PT_SP_REG sp
#define __PT_IP_REG pc

#elif defined(__TARGET_ARCH_arm)

#define __PT_PARM1_REG uregs[0]
#define __PT_PARM2_REG uregs[1]
#define __PT_PARM3_REG uregs[2]
#define __PT_PARM4_REG uregs[3]
#define __PT_PARM1_SYSCALL_REG uregs[0]
#define __PT_PARM5_SYSCALL_REG uregs[4]
#define __PT_PARM6_SYSCALL_REG uregs[5]
#define __PT_PARM7_SYSCALL_REG uregs[6]
#define __PT_RET_REG uregs[14]
#define __PT_FP_REG uregs[11]
#define __PT_RC_REG uregs[0]
#define __PT_SP_REG uregs[13]
#define __PT_IP_REG uregs[15]
#define PT_REGS_SYSCALL_REGS(ctx) ctx

#elif defined(__TARGET_ARCH_s390)

struct pt_regs___s390 {
	unsigned long orig_gpr2;
} __attribute__((preserve_access_index));

#define __PT_REGS_CAST(x) ((const user_pt_regs *)(x))
#define __PT_PARM1_REG gprs[2]
#define __PT_PARM2_REG gprs[3]
#define __PT_PARM3_REG gprs[4]
#define __PT_PARM4_REG gprs[5]
#define __PT_PARM5_REG gprs[6]
#define __PT_SYSCALL1_STRUCT pt_regs___s390
#define __PT_PARM1_SYSCALL_REG orig_gpr2
#define __PT_PARM6_SYSCALL_REG gprs[7]
#define __PT_RET_REG gprs[14]
#define __PT_FP_REG gprs[11]
#define __PT_RC_REG gprs[2]
#define __PT_SP_REG gprs[15]
#define __PT_IP_REG psw.addr

#elif defined(__TARGET_ARCH_riscv)

struct pt_regs___riscv {
	unsigned long orig_a0;
} __attribute__((preserve_access_index));

#define __PT_REGS_CAST(x) ((const struct user_regs_struct *)(x))
#define __PT_PARM1_REG a0
#define __PT_PARM2_REG a1
#define __PT_PARM3_REG a2
#define __PT_PARM4_REG a3
#define __PT_PARM5_REG a4
#define __PT_PARM6_REG a5
#define __PT_PARM7_REG a6
#define __PT_PARM8_REG a7
#define __PT_SYSCALL1_STRUCT pt_regs___riscv
#define __PT_PARM1_SYSCALL_REG orig_a0
#define __PT_RET_REG ra
#define __PT_FP_REG s0
#define __PT_RC_REG a0
#define __PT_SP_REG sp
#define __PT_IP_REG pc

#elif defined(__TARGET_ARCH_powerpc)

#define __PT_PARM1_REG gpr[3]
#define __PT_PARM2_REG gpr[4]
#define __PT_PARM3_REG gpr[5]
#define __PT_PARM4_REG gpr[6]
#define __PT_PARM5_REG gpr[7]
#define __PT_PARM6_REG gpr[8]
#define __PT_PARM7_REG gpr[9]
#define __PT_PARM8_REG gpr[10]
#define __PT_PARM1_SYSCALL_REG orig_gpr3
#define __PT_RET_REG link
#define __PT_FP_REG __unsupported__
#define __PT_RC_REG gpr[3]
#define __PT_SP_REG gpr[1]
#define __PT_IP_REG nip
#define PT_REGS_SYSCALL_REGS(ctx) ctx

#elif defined(__TARGET_ARCH_mips)

#define __PT_PARM1_REG regs[4]
#define __PT_PARM2_REG regs[5]
#define __PT_PARM3_REG regs[6]
#define __PT_PARM4_REG regs[7]
#define __PT_PARM5_REG regs[8]
#define __PT_PARM6_REG regs[9]
#define __PT_PARM7_REG regs[10]
#define __PT_PARM8_REG regs[11]
#define __PT_PARM1_SYSCALL_REG __PT_PARM1_REG
#define __PT_RET_REG regs[31]
#define __PT_FP_REG regs[30]
#define __PT_RC_REG regs[2]
#define __PT_SP_REG regs[29]
#define __PT_IP_REG cp0_epc
#define PT_REGS_SYSCALL_REGS(ctx) ctx

#elif defined(__TARGET_ARCH_loongarch)

struct pt_regs___loongarch {
	unsigned long orig_a0;
} __attribute__((preserve_access_index));

#define __PT_REGS_CAST(x) ((const struct user_pt_regs *)(x))
#define __PT_PARM1_REG regs[4]
#define __PT_PARM2_REG regs[5]
#define __PT_PARM3_REG regs[6]
#define __PT_PARM4_REG regs[7]
#define __PT_PARM5_REG regs[8]
#define __PT_PARM6_REG regs[9]
#define __PT_PARM7_REG regs[10]
#define __PT_PARM8_REG regs[11]
#define __PT_SYSCALL1_STRUCT pt_regs___loongarch
#define __PT_PARM1_SYSCALL_REG orig_a0
#define __PT_RET_REG regs[1]
#define __PT_FP_REG regs[22]
#define __PT_RC_REG regs[4]
#define __PT_SP_REG regs[3]
#define __PT_IP_REG csr_era
#define PT_REGS_SYSCALL_REGS(ctx) ctx

#endif

#ifdef __PT_PARM1_REG /* the machine is known */

/* by default registers are members of struct pt_regs itself, and a system call's are a function's */
#ifndef __PT_REGS_CAST
#define __PT_REGS_CAST(x) (x)
#endif
#ifndef __PT_PARM5_REG
#define __PT_PARM5_REG __unsupported__
#endif
#ifndef __PT_PARM6_REG
#define __PT_PARM6_REG __unsupported__
#endif
#ifndef __PT_PARM7_REG
#define __PT_PARM7_REG __unsupported__
#endif
#ifndef __PT_PARM8_REG
#define __PT_PARM8_REG __unsupported__
#endif
#define __PT_PARM2_SYSCALL_REG __PT_PARM2_REG
#define __PT_PARM3_SYSCALL_REG __PT_PARM3_REG
#ifndef __PT_PARM4_SYSCALL_REG
#define __PT_PARM4_SYSCALL_REG __PT_PARM4_REG
#endif
#ifndef __PT_PARM5_SYSCALL_REG
#define __PT_PARM5_SYSCALL_REG __PT_PARM5_REG
#endif
#ifndef __PT_PARM6_SYSCALL_REG
#define __PT_PARM6_SYSCALL_REG __PT_PARM6_REG
#endif
#ifndef __PT_PARM7_SYSCALL_REG
#define __PT_PARM7_SYSCALL_REG __unsupported__
#endif

/* where a __x64_sys_*() wrapper keeps the registers of the system call: in its first argument */
#ifndef PT_REGS_SYSCALL_REGS
#define PT_REGS_SYSCALL_REGS(ctx) ((struct pt_regs *)PT_REGS_PARM1(ctx))
#endif

/* registers of the context itself, read directly */
struct pt_regs;
#define PT_REGS_PARM1(x) (__PT_REGS_CAST(x)->__PT_PARM1_REG)
#define PT_REGS_PARM2(x) (__PT_REGS_CAST(x)->__PT_PARM2_REG)
#define PT_REGS_PARM3(x) (__PT_REGS_CAST(x)->__PT_PARM3_REG)
#define PT_REGS_PARM4(x) (__PT_REGS_CAST(x)->__PT_PARM4_REG)
#define PT_REGS_PARM5(x) (__PT_REGS_CAST(x)->__PT_PARM5_REG)
#define PT_REGS_PARM6(x) (__PT_REGS_CAST(x)->__PT_PARM6_REG)
#define PT_REGS_PARM7(x) (__PT_REGS_CAST(x)->__PT_PARM7_REG)
#define PT_REGS_PARM8(x) (__PT_REGS_CAST(x)->__PT_PARM8_REG)
#define PT_REGS_RET(x) (__PT_REGS_CAST(x)->__PT_RET_REG)
#define PT_REGS_FP(x) (__PT_REGS_CAST(x)->__PT_FP_REG)
#define PT_REGS_RC(x) (__PT_REGS_CAST(x)->__PT_RC_REG)
#define PT_REGS_SP(x) (__PT_REGS_CAST(x)->__PT_SP_REG)
#define PT_REGS_IP(x) (__PT_REGS_CAST(x)->__PT_IP_REG)

/* registers in kernel memory elsewhere, read with CO-RE; needs bpf_core_read.h */
#define PT_REGS_PARM1_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM1_REG)
#define PT_REGS_PARM2_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM2_REG)
#define PT_REGS_PARM3_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM3_REG)
#define PT_REGS_PARM4_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM4_REG)
#define PT_REGS_PARM5_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM5_REG)
#define PT_REGS_PARM6_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM6_REG)
#define PT_REGS_PARM7_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM7_REG)
#define PT_REGS_PARM8_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM8_REG)
#define PT_REGS_RET_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_RET_REG)
#define PT_REGS_FP_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_FP_REG)
#define PT_REGS_RC_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_RC_REG)
#define PT_REGS_SP_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_SP_REG)
#define PT_REGS_IP_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_IP_REG)

/* arguments of a system call; the first one is always read with CO-RE where it has a struct */
#ifdef __PT_SYSCALL1_STRUCT
#define PT_REGS_PARM1_SYSCALL(x) PT_REGS_PARM1_CORE_SYSCALL(x)
#define PT_REGS_PARM1_CORE_SYSCALL(x) \
	BPF_CORE_READ((const struct __PT_SYSCALL1_STRUCT *)(x), __PT_PARM1_SYSCALL_REG)
#else
#define PT_REGS_PARM1_SYSCALL(x) (__PT_REGS_CAST(x)->__PT_PARM1_SYSCALL_REG)
#define PT_REGS_PARM1_CORE_SYSCALL(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM1_SYSCALL_REG)
#endif
#define PT_REGS_PARM2_SYSCALL(x) (__PT_REGS_CAST(x)->__PT_PARM2_SYSCALL_REG)
#define PT_REGS_PARM3_SYSCALL(x) (__PT_REGS_CAST(x)->__PT_PARM3_SYSCALL_REG)
#define PT_REGS_PARM4_SYSCALL(x) (__PT_REGS_CAST(x)->__PT_PARM4_SYSCALL_REG)
#define PT_REGS_PARM5_SYSCALL(x) (__PT_REGS_CAST(x)->__PT_PARM5_SYSCALL_REG)
#define PT_REGS_PARM6_SYSCALL(x) (__PT_REGS_CAST(x)->__PT_PARM6_SYSCALL_REG)
#define PT_REGS_PARM7_SYSCALL(x) (__PT_REGS_CAST(x)->__PT_PARM7_SYSCALL_REG)
#define PT_REGS_PARM2_CORE_SYSCALL(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM2_SYSCALL_REG)
#define PT_REGS_PARM3_CORE_SYSCALL(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM3_SYSCALL_REG)
#define PT_REGS_PARM4_CORE_SYSCALL(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM4_SYSCALL_REG)
#define PT_REGS_PARM5_CORE_SYSCALL(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM5_SYSCALL_REG)
#define PT_REGS_PARM6_CORE_SYSCALL(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM6_SYSCALL_REG)
#define PT_REGS_PARM7_CORE_SYSCALL(x) BPF_CORE_READ(__PT_REGS_CAST(x), __PT_PARM7_SYSCALL_REG)

/* the address that a probed function returns to, from its entry and from its return */
#if defined(__TARGET_ARCH_powerpc)
#define BPF_KPROBE_READ_RET_IP(ip, ctx) ({ (ip) = (ctx)->link; })
#define BPF_KRETPROBE_READ_RET_IP BPF_KPROBE_READ_RET_IP
#else
#define BPF_KPROBE_READ_RET_IP(ip, ctx) \
	({ bpf_probe_read_kernel(&(ip), sizeof(ip), (void *)PT_REGS_RET(ctx)); })
#define BPF_KRETPROBE_READ_RET_IP(ip, ctx) \
	({ bpf_probe_read_kernel(&(ip), sizeof(ip), (void *)(PT_REGS_FP(ctx) + sizeof(ip))); })
#endif

#else /* no machine: whatever needs one says so when it is used */

#define ___pt_regs_error                                                                        \
	({                                                                                      \
		_Pragma("GCC error \"say whose registers these are, as -D__TARGET_ARCH_x86\"")  \
		0l;                                                                             \
	})
#define PT_REGS_PARM1(x) ___pt_regs_error
#define PT_REGS_PARM2(x) ___pt_regs_error
#define PT_REGS_PARM3(x) ___pt_regs_error
#define PT_REGS_PARM4(x) ___pt_regs_error
#define PT_REGS_PARM5(x) ___pt_regs_error
#define PT_REGS_PARM6(x) ___pt_regs_error
#define PT_REGS_PARM7(x) ___pt_regs_error
#define PT_REGS_PARM8(x) ___pt_regs_error
#define PT_REGS_RET(x) ___pt_regs_error
#define PT_REGS_FP(x) ___pt_regs_error
#define PT_REGS_RC(x) ___pt_regs_error
#define PT_REGS_SP(x) ___pt_regs_error
#define PT_REGS_IP(x) ___pt_regs_error
#define PT_REGS_PARM1_SYSCALL(x) ___pt_regs_error
#define PT_REGS_PARM2_SYSCALL(x) ___pt_regs_error
#define PT_REGS_PARM3_SYSCALL(x) ___pt_regs_error
#define PT_REGS_PARM4_SYSCALL(x) ___pt_regs_error
#define PT_REGS_PARM5_SYSCALL(x) ___pt_regs_error
#define PT_REGS_PARM6_SYSCALL(x) ___pt_regs_error
#define PT_REGS_PARM7_SYSCALL(x) ___pt_regs_error
#define PT_REGS_PARM1_CORE_SYSCALL(x) ___pt_regs_error
#define PT_REGS_PARM2_CORE_SYSCALL(x) ___pt_regs_error
#define PT_REGS_PARM3_CORE_SYSCALL(x) ___pt_regs_error
#define PT_REGS_PARM4_CORE_SYSCALL(x) ___pt_regs_error
#define PT_REGS_PARM5_CORE_SYSCALL(x) ___pt_regs_error
#define PT_REGS_PARM6_CORE_SYSCALL(x) ___pt_regs_error
#define PT_REGS_PARM7_CORE_SYSCALL(x) ___pt_regs_error
#define PT_REGS_SYSCALL_REGS(ctx) ___pt_regs_error
#define BPF_KPROBE_READ_RET_IP(ip, ctx) ___pt_regs_error
#define BPF_KRETPROBE_READ_RET_IP(ip, ctx) ___pt_regs_error

#endif

/*
 * Programs with named arguments. Each macro writes the program that the kernel calls, with its
 * context, and begins an inlined function ____name() with the arguments that you declare, whose
 * body is what you write after the macro. `ctx` stays visible in the body.
 */
#define ___bpf_named(name, ctx_type, call, args...)                                             \
	name(ctx_type *ctx);                                                                    \
	static __always_inline typeof(name(0)) ____##name(ctx_type *ctx, ##args);               \
	typeof(name(0)) name(ctx_type *ctx)                                                     \
	{                                                                                       \
		_Pragma("GCC diagnostic push")                                                  \
		_Pragma("GCC diagnostic ignored \"-Wint-conversion\"")                          \
		return ____##name(call);                                                        \
		_Pragma("GCC diagnostic pop")                                                   \
	}                                                                                       \
	static __always_inline typeof(name(0)) ____##name(ctx_type *ctx, ##args)

/* the context as an array of 64-bit words, one for each argument */
#define ___bpf_ctx_cast0() ctx
#define ___bpf_ctx_cast1(x) ___bpf_ctx_cast0(), ctx[0]
#define ___bpf_ctx_cast2(x, args...) ___bpf_ctx_cast1(args), ctx[1]
#define ___bpf_ctx_cast3(x, args...) ___bpf_ctx_cast2(args), ctx[2]
#define ___bpf_ctx_cast4(x, args...) ___bpf_ctx_cast3(args), ctx[3]
#define ___bpf_ctx_cast5(x, args...) ___bpf_ctx_cast4(args), ctx[4]
#define ___bpf_ctx_cast6(x, args...) ___bpf_ctx_cast5(args), ctx[5]
#define ___bpf_ctx_cast7(x, args...) ___bpf_ctx_cast6(args), ctx[6]
#define ___bpf_ctx_cast8(x, args...) ___bpf_ctx_cast7(args), ctx[7]
#define ___bpf_ctx_cast9(x, args...) ___bpf_ctx_cast8(args), ctx[8]
#define ___bpf_ctx_cast10(x, args...) ___bpf_ctx_cast9(args), ctx[9]
#define ___bpf_ctx_cast11(x, args...) ___bpf_ctx_cast10(args), ctx[10]
#define ___bpf_ctx_cast12(x, args...) ___bpf_ctx_cast11(args), ctx[11]
#define ___bpf_ctx_cast(args...) ___bpf_apply(___bpf_ctx_cast, ___bpf_narg(args))(args)

/*
 * fentry, fexit, fmod_ret, tp_btf, raw_tp, lsm, iter, struct_ops:
 *
 *	SEC("fentry/do_unlinkat")
 *	int BPF_PROG(on_unlink, int dfd, struct filename *name) { ... }
 */
#define BPF_PROG(name, args...) \
	___bpf_named(name, unsigned long long, ___bpf_ctx_cast(args), ##args)

/*
 * BPF_PROG2(name, type1, arg1, type2, arg2, ...): the same for functions that take structs by
 * value; one of up to 16 bytes takes one or two words of the context.
 */
#ifndef ____bpf_nth
#define ____bpf_nth(_, _1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16,   \
		    _17, _18, _19, _20, _21, _22, _23, _24, N, ...) N
#endif
#ifndef ____bpf_narg
#define ____bpf_narg(...)                                                                       \
	____bpf_nth(_, ##__VA_ARGS__, 12, 12, 11, 11, 10, 10, 9, 9, 8, 8, 7, 7, 6, 6, 5, 5, 4,  \
		    4, 3, 3, 2, 2, 1, 1, 0)
#endif

#define ___bpf_word_cnt(t) (sizeof(t) <= 8 ? 1 : 2 / (sizeof(t) <= 16))

#define ___bpf_width0() 0
#define ___bpf_width1(t, x) (___bpf_width0() + ___bpf_word_cnt(t))
#define ___bpf_width2(t, x, args...) (___bpf_width1(args) + ___bpf_word_cnt(t))
#define ___bpf_width3(t, x, args...) (___bpf_width2(args) + ___bpf_word_cnt(t))
#define ___bpf_width4(t, x, args...) (___bpf_width3(args) + ___bpf_word_cnt(t))
#define ___bpf_width5(t, x, args...) (___bpf_width4(args) + ___bpf_word_cnt(t))
#define ___bpf_width6(t, x, args...) (___bpf_width5(args) + ___bpf_word_cnt(t))
#define ___bpf_width7(t, x, args...) (___bpf_width6(args) + ___bpf_word_cnt(t))
#define ___bpf_width8(t, x, args...) (___bpf_width7(args) + ___bpf_word_cnt(t))
#define ___bpf_width9(t, x, args...) (___bpf_width8(args) + ___bpf_word_cnt(t))
#define ___bpf_width10(t, x, args...) (___bpf_width9(args) + ___bpf_word_cnt(t))
#define ___bpf_width11(t, x, args...) (___bpf_width10(args) + ___bpf_word_cnt(t))
#define ___bpf_width12(t, x, args...) (___bpf_width11(args) + ___bpf_word_cnt(t))
#define ___bpf_width_of(args...) ___bpf_apply(___bpf_width, ____bpf_narg(args))(args)

/* word n (and n + 1) of the context as a `t`: through an integer of its size, for big-endian */
#define ___bpf_as(int_type, t, n)                                                               \
	({                                                                                      \
		union {                                                                         \
			int_type ___z;                                                          \
			t ___x;                                                                 \
		} ___u = { .___z = (int_type)ctx[n] };                                          \
		___u.___x;                                                                      \
	})
#define ___bpf_as_pair(t, n)                                                                    \
	({                                                                                      \
		union {                                                                         \
			unsigned long long ___z[2];                                             \
			t ___x;                                                                 \
		} ___u = { .___z = { ctx[n], ctx[(n) + 1] } };                                  \
		___u.___x;                                                                      \
	})
#define ___bpf_word_as(t, n)                                                                    \
	__builtin_choose_expr(sizeof(t) == 1, ___bpf_as(unsigned char, t, n),                   \
	__builtin_choose_expr(sizeof(t) == 2, ___bpf_as(unsigned short, t, n),                  \
	__builtin_choose_expr(sizeof(t) == 4, ___bpf_as(unsigned int, t, n),                    \
	__builtin_choose_expr(sizeof(t) <= 8, ___bpf_as(unsigned long long, t, n),              \
			      ___bpf_as_pair(t, n)))))

/* argument k begins after the words of those before it: all words minus those from k on */
#define ___bpf_ctx_arg0(args...)
#define ___bpf_ctx_arg1(t, x) , ___bpf_word_as(t, ___all - ___bpf_width1(t, x))
#define ___bpf_ctx_arg2(t, x, args...) \
	, ___bpf_word_as(t, ___all - ___bpf_width2(t, x, args)) ___bpf_ctx_arg1(args)
#define ___bpf_ctx_arg3(t, x, args...) \
	, ___bpf_word_as(t, ___all - ___bpf_width3(t, x, args)) ___bpf_ctx_arg2(args)
#define ___bpf_ctx_arg4(t, x, args...) \
	, ___bpf_word_as(t, ___all - ___bpf_width4(t, x, args)) ___bpf_ctx_arg3(args)
#define ___bpf_ctx_arg5(t, x, args...) \
	, ___bpf_word_as(t, ___all - ___bpf_width5(t, x, args)) ___bpf_ctx_arg4(args)
#define ___bpf_ctx_arg6(t, x, args...) \
	, ___bpf_word_as(t, ___all - ___bpf_width6(t, x, args)) ___bpf_ctx_arg5(args)
#define ___bpf_ctx_arg7(t, x, args...) \
	, ___bpf_word_as(t, ___all - ___bpf_width7(t, x, args)) ___bpf_ctx_arg6(args)
#define ___bpf_ctx_arg8(t, x, args...) \
	, ___bpf_word_as(t, ___all - ___bpf_width8(t, x, args)) ___bpf_ctx_arg7(args)
#define ___bpf_ctx_arg9(t, x, args...) \
	, ___bpf_word_as(t, ___all - ___bpf_width9(t, x, args)) ___bpf_ctx_arg8(args)
#define ___bpf_ctx_arg10(t, x, args...) \
	, ___bpf_word_as(t, ___all - ___bpf_width10(t, x, args)) ___bpf_ctx_arg9(args)
#define ___bpf_ctx_arg11(t, x, args...) \
	, ___bpf_word_as(t, ___all - ___bpf_width11(t, x, args)) ___bpf_ctx_arg10(args)
#define ___bpf_ctx_arg12(t, x, args...) \
	, ___bpf_word_as(t, ___all - ___bpf_width12(t, x, args)) ___bpf_ctx_arg11(args)
#define ___bpf_ctx_args(args...) ___bpf_apply(___bpf_ctx_arg, ____bpf_narg(args))(args)

#define ___bpf_ctx_decl0()
#define ___bpf_ctx_decl1(t, x) , t x
#define ___bpf_ctx_decl2(t, x, args...) , t x ___bpf_ctx_decl1(args)
#define ___bpf_ctx_decl3(t, x, args...) , t x ___bpf_ctx_decl2(args)
#define ___bpf_ctx_decl4(t, x, args...) , t x ___bpf_ctx_decl3(args)
#define ___bpf_ctx_decl5(t, x, args...) , t x ___bpf_ctx_decl4(args)
#define ___bpf_ctx_decl6(t, x, args...) , t x ___bpf_ctx_decl5(args)
#define ___bpf_ctx_decl7(t, x, args...) , t x ___bpf_ctx_decl6(args)
#define ___bpf_ctx_decl8(t, x, args...) , t x ___bpf_ctx_decl7(args)
#define ___bpf_ctx_decl9(t, x, args...) , t x ___bpf_ctx_decl8(args)
#define ___bpf_ctx_decl10(t, x, args...) , t x ___bpf_ctx_decl9(args)
#define ___bpf_ctx_decl11(t, x, args...) , t x ___bpf_ctx_decl10(args)
#define ___bpf_ctx_decl12(t, x, args...) , t x ___bpf_ctx_decl11(args)
#define ___bpf_ctx_decl(args...) ___bpf_apply(___bpf_ctx_decl, ____bpf_narg(args))(args)

#define BPF_PROG2(name, args...)                                                                \
	name(unsigned long long *ctx);                                                          \
	static __always_inline typeof(name(0)) ____##name(unsigned long long *ctx               \
							  ___bpf_ctx_decl(args));               \
	typeof(name(0)) name(unsigned long long *ctx)                                           \
	{                                                                                       \
		enum { ___all = ___bpf_width_of(args) };                                        \
		return ____##name(ctx ___bpf_ctx_args(args));                                   \
	}                                                                                       \
	static __always_inline typeof(name(0)) ____##name(unsigned long long *ctx               \
							  ___bpf_ctx_decl(args))

struct pt_regs;

#define ___bpf_kprobe_args0() ctx
#define ___bpf_kprobe_args1(x) ___bpf_kprobe_args0(), (unsigned long long)PT_REGS_PARM1(ctx)
#define ___bpf_kprobe_args2(x, args...) \
	___bpf_kprobe_args1(args), (unsigned long long)PT_REGS_PARM2(ctx)
#define ___bpf_kprobe_args3(x, args...) \
	___bpf_kprobe_args2(args), (unsigned long long)PT_REGS_PARM3(ctx)
#define ___bpf_kprobe_args4(x, args...) \
	___bpf_kprobe_args3(args), (unsigned long long)PT_REGS_PARM4(ctx)
#define ___bpf_kprobe_args5(x, args...) \
	___bpf_kprobe_args4(args), (unsigned long long)PT_REGS_PARM5(ctx)
#define ___bpf_kprobe_args6(x, args...) \
	___bpf_kprobe_args5(args), (unsigned long long)PT_REGS_PARM6(ctx)
#define ___bpf_kprobe_args7(x, args...) \
	___bpf_kprobe_args6(args), (unsigned long long)PT_REGS_PARM7(ctx)
#define ___bpf_kprobe_args8(x, args...) \
	___bpf_kprobe_args7(args), (unsigned long long)PT_REGS_PARM8(ctx)
#define ___bpf_kprobe_args(args...) ___bpf_apply(___bpf_kprobe_args, ___bpf_narg(args))(args)

/*
 * kprobe at a function's entry; names the first arguments, those that travel in registers:
 *
 *	SEC("kprobe/do_unlinkat")
 *	int BPF_KPROBE(on_unlink, int dfd, struct filename *name) { ... }
 */
#define BPF_KPROBE(name, args...) \
	___bpf_named(name, struct pt_regs, ___bpf_kprobe_args(args), ##args)

#define ___bpf_kretprobe_args0() ctx
#define ___bpf_kretprobe_args1(x) ctx, (unsigned long long)PT_REGS_RC(ctx)
#define ___bpf_kretprobe_args(args...) \
	___bpf_apply(___bpf_kretprobe_args, ___bpf_narg(args))(args)

/* kretprobe: the one argument, if any, is the function's result */
#define BPF_KRETPROBE(name, args...) \
	___bpf_named(name, struct pt_regs, ___bpf_kretprobe_args(args), ##args)

/* the same for functions of user space */
#define BPF_UPROBE(name, args...) BPF_KPROBE(name, ##args)
#define BPF_URETPROBE(name, args...) BPF_KRETPROBE(name, ##args)

/* a system call's arguments in the context's registers, and where a wrapper's argument points */
#define ___bpf_syscall_args0() ctx
#define ___bpf_syscall_args1(x) \
	___bpf_syscall_args0(), (unsigned long long)PT_REGS_PARM1_SYSCALL(regs)
#define ___bpf_syscall_args2(x, args...) \
	___bpf_syscall_args1(args), (unsigned long long)PT_REGS_PARM2_SYSCALL(regs)
#define ___bpf_syscall_args3(x, args...) \
	___bpf_syscall_args2(args), (unsigned long long)PT_REGS_PARM3_SYSCALL(regs)
#define ___bpf_syscall_args4(x, args...) \
	___bpf_syscall_args3(args), (unsigned long long)PT_REGS_PARM4_SYSCALL(regs)
#define ___bpf_syscall_args5(x, args...) \
	___bpf_syscall_args4(args), (unsigned long long)PT_REGS_PARM5_SYSCALL(regs)
#define ___bpf_syscall_args6(x, args...) \
	___bpf_syscall_args5(args), (unsigned long long)PT_REGS_PARM6_SYSCALL(regs)
#define ___bpf_syscall_args7(x, args...) \
	___bpf_syscall_args6(args), (unsigned long long)PT_REGS_PARM7_SYSCALL(regs)
#define ___bpf_syscall_args(args...) ___bpf_apply(___bpf_syscall_args, ___bpf_narg(args))(args)

#define ___bpf_syswrap_args0() ctx
#define ___bpf_syswrap_args1(x) \
	___bpf_syswrap_args0(), (unsigned long long)PT_REGS_PARM1_CORE_SYSCALL(regs)
#define ___bpf_syswrap_args2(x, args...) \
	___bpf_syswrap_args1(args), (unsigned long long)PT_REGS_PARM2_CORE_SYSCALL(regs)
#define ___bpf_syswrap_args3(x, args...) \
	___bpf_syswrap_args2(args), (unsigned long long)PT_REGS_PARM3_CORE_SYSCALL(regs)
#define ___bpf_syswrap_args4(x, args...) \
	___bpf_syswrap_args3(args), (unsigned long long)PT_REGS_PARM4_CORE_SYSCALL(regs)
#define ___bpf_syswrap_args5(x, args...) \
	___bpf_syswrap_args4(args), (unsigned long long)PT_REGS_PARM5_CORE_SYSCALL(regs)
#define ___bpf_syswrap_args6(x, args...) \
	___bpf_syswrap_args5(args), (unsigned long long)PT_REGS_PARM6_CORE_SYSCALL(regs)
#define ___bpf_syswrap_args7(x, args...) \
	___bpf_syswrap_args6(args), (unsigned long long)PT_REGS_PARM7_CORE_SYSCALL(regs)
#define ___bpf_syswrap_args(args...) ___bpf_apply(___bpf_syswrap_args, ___bpf_narg(args))(args)

/*
 * kprobe at a system call, SEC("ksyscall/unlinkat"): its arguments, whether or not this kernel
 * wraps system calls. Needs bpf_core_read.h.
 */
#define BPF_KSYSCALL(name, args...)                                                             \
	name(struct pt_regs *ctx);                                                              \
	extern _Bool LINUX_HAS_SYSCALL_WRAPPER __kconfig;                                       \
	static __always_inline typeof(name(0)) ____##name(struct pt_regs *ctx, ##args);         \
	typeof(name(0)) name(struct pt_regs *ctx)                                               \
	{                                                                                       \
		struct pt_regs *regs = LINUX_HAS_SYSCALL_WRAPPER                                \
					       ? (struct pt_regs *)PT_REGS_PARM1(ctx)           \
					       : ctx;                                           \
		_Pragma("GCC diagnostic push")                                                  \
		_Pragma("GCC diagnostic ignored \"-Wint-conversion\"")                          \
		if (LINUX_HAS_SYSCALL_WRAPPER)                                                  \
			return ____##name(___bpf_syswrap_args(args));                           \
		else                                                                            \
			return ____##name(___bpf_syscall_args(args));                           \
		_Pragma("GCC diagnostic pop")                                                   \
	}                                                                                       \
	static __always_inline typeof(name(0)) ____##name(struct pt_regs *ctx, ##args)

#define BPF_KPROBE_SYSCALL BPF_KSYSCALL

#endif /* __BPF_TRACING_H__ */
