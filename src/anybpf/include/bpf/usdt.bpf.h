/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * usdt.bpf.h - arguments of USDT probes, the marks that programs like a database or an interpreter
 * carry for tracers. Where an argument is found (register, memory, constant) stands in a note in
 * the traced program; the loader translates it into a row of the map below. Names, layout and
 * meaning are those of libbpf's header of the same name.
 *
 * Include "vmlinux.h" or <linux/bpf.h>, bpf_helpers.h and bpf_tracing.h before it.
 */
#ifndef __USDT_BPF_H__
#define __USDT_BPF_H__

#include "bpf_helpers.h"
#include "bpf_tracing.h"

/* how many different descriptions of probes, and how many places for them in the traced programs */
#ifndef BPF_USDT_MAX_SPEC_CNT
#define BPF_USDT_MAX_SPEC_CNT 256
#endif
#ifndef BPF_USDT_MAX_IP_CNT
#define BPF_USDT_MAX_IP_CNT (4 * BPF_USDT_MAX_SPEC_CNT)
#endif
#define BPF_USDT_MAX_ARG_CNT 12

enum __bpf_usdt_arg_type {
	BPF_USDT_ARG_CONST,     /* val_off is the value */
	BPF_USDT_ARG_REG,       /* the register at reg_off in struct pt_regs */
	BPF_USDT_ARG_REG_DEREF, /* memory at that register plus val_off */
	BPF_USDT_ARG_SIB,       /* the same, plus another register times 1, 2, 4 or 8 */
};

struct __bpf_usdt_arg_spec {
	__u64 val_off;
	/* one word, whose low 8 bits say the type on machines of either byte order */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	enum __bpf_usdt_arg_type arg_type : 8;
	__u32 idx_reg_off : 12;
	__u32 scale_bitshift : 4;
	__u32 __reserved : 8;
#else
	__u32 __reserved : 8;
	__u32 idx_reg_off : 12;
	__u32 scale_bitshift : 4;
	enum __bpf_usdt_arg_type arg_type : 8;
#endif
	short reg_off;
	_Bool arg_signed;
	/* 64 minus the argument's bits: shifted left and right again, the rest is gone */
	char arg_bitshift;
};

struct __bpf_usdt_spec {
	struct __bpf_usdt_arg_spec args[BPF_USDT_MAX_ARG_CNT];
	__u64 usdt_cookie;
	short arg_cnt;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BPF_USDT_MAX_SPEC_CNT);
	__type(key, int);
	__type(value, struct __bpf_usdt_spec);
} __bpf_usdt_specs SEC(".maps") __weak;

/* for kernels that cannot give a probe a cookie: the place says which description it has */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BPF_USDT_MAX_IP_CNT);
	__type(key, long);
	__type(value, __u32);
} __bpf_usdt_ip_to_spec_id SEC(".maps") __weak;

extern const _Bool LINUX_HAS_BPF_COOKIE __kconfig;

enum { ___USDT_ENOENT = 2, ___USDT_ESRCH = 3 };

static __always_inline int __bpf_usdt_spec_id(struct pt_regs *ctx)
{
	if (!LINUX_HAS_BPF_COOKIE) {
		long ip = PT_REGS_IP(ctx);
		int *spec_id = bpf_map_lookup_elem(&__bpf_usdt_ip_to_spec_id, &ip);

		return spec_id ? *spec_id : -___USDT_ESRCH;
	}
	return bpf_get_attach_cookie(ctx);
}

static __always_inline struct __bpf_usdt_spec *___bpf_usdt_spec(struct pt_regs *ctx)
{
	int spec_id = __bpf_usdt_spec_id(ctx);

	return spec_id < 0 ? (void *)0 : bpf_map_lookup_elem(&__bpf_usdt_specs, &spec_id);
}

/* how many arguments the probe has, or -ESRCH */
static __noinline __attribute__((unused)) int bpf_usdt_arg_cnt(struct pt_regs *ctx)
{
	struct __bpf_usdt_spec *spec = ___bpf_usdt_spec(ctx);

	return spec ? spec->arg_cnt : -___USDT_ESRCH;
}

/* the size of an argument in bytes; -ENOENT if there is no such argument, or -ESRCH */
static __noinline __attribute__((unused)) int bpf_usdt_arg_size(struct pt_regs *ctx, __u64 arg_num)
{
	struct __bpf_usdt_spec *spec = ___bpf_usdt_spec(ctx);

	if (!spec)
		return -___USDT_ESRCH;
	if (arg_num >= BPF_USDT_MAX_ARG_CNT)
		return -___USDT_ENOENT;
	barrier_var(arg_num);
	if (arg_num >= spec->arg_cnt)
		return -___USDT_ENOENT;
	return (64u - (unsigned char)spec->args[arg_num].arg_bitshift) >> 3;
}

/* argument number `arg_num` (from 0) into *res; 0 or a negative error, then *res is 0 */
static __noinline __attribute__((unused)) int bpf_usdt_arg(struct pt_regs *ctx, __u64 arg_num,
							   long *res)
{
	struct __bpf_usdt_spec *spec = ___bpf_usdt_spec(ctx);
	struct __bpf_usdt_arg_spec *arg;
	unsigned long val, index;
	int err;

	*res = 0;
	if (!spec)
		return -___USDT_ESRCH;
	if (arg_num >= BPF_USDT_MAX_ARG_CNT)
		return -___USDT_ENOENT;
	/* the verifier must see the bound of the very register that indexes */
	barrier_var(arg_num);
	if (arg_num >= spec->arg_cnt)
		return -___USDT_ENOENT;

	arg = &spec->args[arg_num];
	switch (arg->arg_type) {
	case BPF_USDT_ARG_CONST:
		val = arg->val_off;
		break;
	case BPF_USDT_ARG_REG:
	case BPF_USDT_ARG_REG_DEREF:
	case BPF_USDT_ARG_SIB:
		err = bpf_probe_read_kernel(&val, sizeof(val), (void *)ctx + arg->reg_off);
		if (err)
			return err;
		if (arg->arg_type == BPF_USDT_ARG_REG)
			break;
		if (arg->arg_type == BPF_USDT_ARG_SIB) {
			err = bpf_probe_read_kernel(&index, sizeof(index),
						    (void *)ctx + arg->idx_reg_off);
			if (err)
				return err;
			val += index << arg->scale_bitshift;
		}
		err = bpf_probe_read_user(&val, sizeof(val), (void *)val + arg->val_off);
		if (err)
			return err;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
		/* the argument is in the first bytes of the word, which are its high ones */
		val >>= arg->arg_bitshift;
#endif
		break;
	default:
		return -___USDT_ENOENT;
	}
	val <<= arg->arg_bitshift;
	*res = arg->arg_signed ? (long)val >> arg->arg_bitshift : (long)(val >> arg->arg_bitshift);
	return 0;
}

/* the number that was given when the probe was attached, 0 by default */
static __noinline __attribute__((unused)) long bpf_usdt_cookie(struct pt_regs *ctx)
{
	struct __bpf_usdt_spec *spec = ___bpf_usdt_spec(ctx);

	return spec ? spec->usdt_cookie : 0;
}

#define ___bpf_usdt_arg(n) ({ long ___x; bpf_usdt_arg(ctx, n, &___x); ___x; })
#define ___bpf_usdt_args0() ctx
#define ___bpf_usdt_args1(x) ___bpf_usdt_args0(), ___bpf_usdt_arg(0)
#define ___bpf_usdt_args2(x, args...) ___bpf_usdt_args1(args), ___bpf_usdt_arg(1)
#define ___bpf_usdt_args3(x, args...) ___bpf_usdt_args2(args), ___bpf_usdt_arg(2)
#define ___bpf_usdt_args4(x, args...) ___bpf_usdt_args3(args), ___bpf_usdt_arg(3)
#define ___bpf_usdt_args5(x, args...) ___bpf_usdt_args4(args), ___bpf_usdt_arg(4)
#define ___bpf_usdt_args6(x, args...) ___bpf_usdt_args5(args), ___bpf_usdt_arg(5)
#define ___bpf_usdt_args7(x, args...) ___bpf_usdt_args6(args), ___bpf_usdt_arg(6)
#define ___bpf_usdt_args8(x, args...) ___bpf_usdt_args7(args), ___bpf_usdt_arg(7)
#define ___bpf_usdt_args9(x, args...) ___bpf_usdt_args8(args), ___bpf_usdt_arg(8)
#define ___bpf_usdt_args10(x, args...) ___bpf_usdt_args9(args), ___bpf_usdt_arg(9)
#define ___bpf_usdt_args11(x, args...) ___bpf_usdt_args10(args), ___bpf_usdt_arg(10)
#define ___bpf_usdt_args12(x, args...) ___bpf_usdt_args11(args), ___bpf_usdt_arg(11)
#define ___bpf_usdt_args(args...) ___bpf_apply(___bpf_usdt_args, ___bpf_narg(args))(args)

/*
 * A program for a probe with named arguments:
 *
 *	SEC("usdt/libc.so.6:libc:setjmp")
 *	int BPF_USDT(on_setjmp, void *env, int arg, unsigned long ip) { ... }
 */
#define BPF_USDT(name, args...) \
	___bpf_named(name, struct pt_regs, ___bpf_usdt_args(args), ##args)

#endif /* __USDT_BPF_H__ */
