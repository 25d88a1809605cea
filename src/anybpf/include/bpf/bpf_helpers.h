/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bpf_helpers.h - what nearly every BPF program in C begins with: helpers, sections, map
 * definitions, attributes, printing and loops. Names and meaning are those of libbpf's header of
 * the same name.
 *
 * Include "vmlinux.h" or <linux/bpf.h> (for __u32, enum bpf_map_type, ...) before it.
 */
#ifndef __BPF_HELPERS__
#define __BPF_HELPERS__

#include "bpf_helper_defs.h"

/*
 * Map definitions. The loader reads a member's type, never its value, so a number travels as the
 * length of an array and a type as what a pointer points to:
 *
 *	struct {
 *		__uint(type, BPF_MAP_TYPE_HASH);
 *		__uint(max_entries, 64);
 *		__type(key, __u32);
 *		__type(value, struct counter);
 *	} counters SEC(".maps");
 *
 * __array gives a map of maps (or of programs) its inner map (its programs); __ulong is a number
 * of more than 32 bits, such as map_extra.
 */
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name
#define __array(name, val) typeof(val) *name[]
#define __ulong(name, val) enum { ___bpf_concat(__unique_value, __COUNTER__) = val } name

/* put a program, a map or a variable into an ELF section, even if nothing in this file uses it */
#if defined(__clang__)
#define SEC(name)                                                                       \
	_Pragma("GCC diagnostic push")                                                  \
	_Pragma("GCC diagnostic ignored \"-Wignored-attributes\"")                      \
	__attribute__((section(name), used))                                            \
	_Pragma("GCC diagnostic pop")
#else
/* gcc knows no _Pragma inside a declaration */
#define SEC(name) __attribute__((section(name), used))
#endif

/* functions: always part of their caller; a function of their own; replaceable; of this file only */
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif
#ifndef __weak
#define __weak __attribute__((weak))
#endif
/* the linker makes it static, so the verifier checks it together with its callers */
#define __hidden __attribute__((visibility("hidden")))

/* a version as LINUX_KERNEL_VERSION counts them; the last part stops at 255, as in the kernel */
#ifndef KERNEL_VERSION
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))
#endif

/* as arithmetic on an address, which CO-RE can relocate; the compiler's builtin is a constant */
#undef offsetof
#define offsetof(type, member) ((unsigned long)&((type *)0)->member)
#undef container_of
#define container_of(ptr, type, member)                                 \
	({                                                              \
		void *__mptr = (void *)(ptr);                           \
		((type *)(__mptr - offsetof(type, member)));            \
	})

/* the compiler may not move memory accesses across, nor reason about the value of `var` */
#ifndef barrier
#define barrier() asm volatile("" ::: "memory")
#endif
#ifndef barrier_var
#define barrier_var(var) asm volatile("" : "+r"(var))
#endif

/* fails to compile wherever the compiler cannot prove that it is never reached */
#ifndef __bpf_unreachable
#define __bpf_unreachable() __builtin_trap()
#endif

/*
 * bpf_tail_call() to an element known at compile time. The index must be in its register as a
 * constant when the call comes, then a JIT can jump there directly; hence the assembly.
 */
#if defined(__bpf__) && (!defined(__clang__) || __clang_major__ >= 8)
static __always_inline void bpf_tail_call_static(void *ctx, const void *map, const __u32 slot)
{
	if (!__builtin_constant_p(slot))
		__bpf_unreachable();
	asm volatile("r1 = %[ctx]\n\t"
		     "r2 = %[map]\n\t"
		     "r3 = %[slot]\n\t"
		     "call 12"
		     :: [ctx] "r"(ctx), [map] "r"(map), [slot] "i"(slot)
		     : "r0", "r1", "r2", "r3", "r4", "r5");
}
#endif

/* values of a map definition's `pinning` */
enum libbpf_pin_type {
	LIBBPF_PIN_NONE,
	/* under the map's name in the object's pin directory (/sys/fs/bpf by default) */
	LIBBPF_PIN_BY_NAME,
};

/* a `tristate` of the kernel's configuration */
enum libbpf_tristate {
	TRI_NO = 0,
	TRI_YES = 1,
	TRI_MODULE = 2,
};

/* externs: from the kernel's configuration; a kernel variable or function */
#define __kconfig __attribute__((section(".kconfig")))
#define __ksym __attribute__((section(".ksyms")))

/* pointers in map values: to a kernel object, counted or not; per-CPU; of user memory */
#define __kptr_untrusted __attribute__((btf_type_tag("kptr_untrusted")))
#define __kptr __attribute__((btf_type_tag("kptr")))
#define __percpu_kptr __attribute__((btf_type_tag("percpu_kptr")))
#define __uptr __attribute__((btf_type_tag("uptr")))

/* does the kernel have this __weak __ksym? */
#if defined(__bpf__)
#define bpf_ksym_exists(sym)                                                                    \
	({                                                                                      \
		_Static_assert(!__builtin_constant_p(!!sym),                                    \
			       #sym " should be marked as __weak");                             \
		!!sym;                                                                          \
	})
#else
#define bpf_ksym_exists(sym) (!!sym)
#endif

/* what the verifier may assume of an argument of a global function, and its callers must fulfil */
#define __arg_ctx __attribute__((btf_decl_tag("arg:ctx")))
#define __arg_nonnull __attribute((btf_decl_tag("arg:nonnull")))
#define __arg_nullable __attribute((btf_decl_tag("arg:nullable")))
#define __arg_trusted __attribute((btf_decl_tag("arg:trusted")))
#define __arg_untrusted __attribute((btf_decl_tag("arg:untrusted")))
#define __arg_arena __attribute((btf_decl_tag("arg:arena")))

/* names made of parts, and macros chosen by how many arguments there are (up to 12) */
#ifndef ___bpf_concat
#define ___bpf_concat(a, b) a ## b
#endif
#ifndef ___bpf_apply
#define ___bpf_apply(fn, n) ___bpf_concat(fn, n)
#endif
#ifndef ___bpf_nth
#define ___bpf_nth(_, _1, _2, _3, _4, _5, _6, _7, _8, _9, _a, _b, _c, N, ...) N
#endif
#ifndef ___bpf_narg
#define ___bpf_narg(...) ___bpf_nth(_, ##__VA_ARGS__, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#endif

/* arr[0] = first argument, arr[1] = second, ...; integers and pointers become 64 bits */
#define ___bpf_fill0(arr, p, x) do {} while (0)
#define ___bpf_fill1(arr, p, x) arr[p] = x
#define ___bpf_fill2(arr, p, x, args...) arr[p] = x; ___bpf_fill1(arr, p + 1, args)
#define ___bpf_fill3(arr, p, x, args...) arr[p] = x; ___bpf_fill2(arr, p + 1, args)
#define ___bpf_fill4(arr, p, x, args...) arr[p] = x; ___bpf_fill3(arr, p + 1, args)
#define ___bpf_fill5(arr, p, x, args...) arr[p] = x; ___bpf_fill4(arr, p + 1, args)
#define ___bpf_fill6(arr, p, x, args...) arr[p] = x; ___bpf_fill5(arr, p + 1, args)
#define ___bpf_fill7(arr, p, x, args...) arr[p] = x; ___bpf_fill6(arr, p + 1, args)
#define ___bpf_fill8(arr, p, x, args...) arr[p] = x; ___bpf_fill7(arr, p + 1, args)
#define ___bpf_fill9(arr, p, x, args...) arr[p] = x; ___bpf_fill8(arr, p + 1, args)
#define ___bpf_fill10(arr, p, x, args...) arr[p] = x; ___bpf_fill9(arr, p + 1, args)
#define ___bpf_fill11(arr, p, x, args...) arr[p] = x; ___bpf_fill10(arr, p + 1, args)
#define ___bpf_fill12(arr, p, x, args...) arr[p] = x; ___bpf_fill11(arr, p + 1, args)
#define ___bpf_fill(arr, args...) ___bpf_apply(___bpf_fill, ___bpf_narg(args))(arr, 0, args)

/* `params` holds the arguments as an array of 64-bit words, `fmt` a format that lives in .rodata */
#define ___bpf_words(fmt_decl, args...)                                                         \
	fmt_decl;                                                                               \
	unsigned long long ___param[___bpf_narg(args)];                                         \
	_Pragma("GCC diagnostic push")                                                          \
	_Pragma("GCC diagnostic ignored \"-Wint-conversion\"")                                  \
	___bpf_fill(___param, args);                                                            \
	_Pragma("GCC diagnostic pop")

/* print into an iterator's file; any number of arguments up to 12 */
#define BPF_SEQ_PRINTF(seq, fmt, args...)                                                       \
	({                                                                                      \
		___bpf_words(static const char ___fmt[] = fmt, args)                            \
		bpf_seq_printf(seq, ___fmt, sizeof(___fmt), ___param, sizeof(___param));        \
	})

/* print into memory; the length with the final zero, which may be more than `out_size` */
#define BPF_SNPRINTF(out, out_size, fmt, args...)                                               \
	({                                                                                      \
		___bpf_words(static const char ___fmt[] = fmt, args)                            \
		bpf_snprintf(out, out_size, ___fmt, ___param, sizeof(___param));                \
	})

/* objects for kernels before 5.2 have no .rodata: the format goes to the stack */
#ifdef BPF_NO_GLOBAL_DATA
#define BPF_PRINTK_FMT_MOD
#else
#define BPF_PRINTK_FMT_MOD static const
#endif

#define __bpf_printk(fmt, ...)                                                                  \
	({                                                                                      \
		BPF_PRINTK_FMT_MOD char ____fmt[] = fmt;                                        \
		bpf_trace_printk(____fmt, sizeof(____fmt), ##__VA_ARGS__);                      \
	})

#define __bpf_vprintk(fmt, args...)                                                             \
	({                                                                                      \
		___bpf_words(static const char ___fmt[] = fmt, args)                            \
		bpf_trace_vprintk(___fmt, sizeof(___fmt), ___param, sizeof(___param));          \
	})

/* three arguments fit into registers; more need bpf_trace_vprintk() (Linux 5.16) */
#define ___bpf_pick_printk(...)                                                                 \
	___bpf_nth(_, ##__VA_ARGS__, __bpf_vprintk, __bpf_vprintk, __bpf_vprintk,               \
		   __bpf_vprintk, __bpf_vprintk, __bpf_vprintk, __bpf_vprintk,                  \
		   __bpf_vprintk, __bpf_vprintk, __bpf_printk /*3*/, __bpf_printk /*2*/,        \
		   __bpf_printk /*1*/, __bpf_printk /*0*/)

/* print a line into trace_pipe: bpf_printk("port %d", port) */
#define bpf_printk(fmt, args...) ___bpf_pick_printk(args)(fmt, ##args)

/* print into a stream of this program (BPF_STDOUT, BPF_STDERR; Linux 6.18) */
extern int bpf_stream_vprintk_impl(int stream_id, const char *fmt__str, const void *args,
				   __u32 len__sz, void *aux__prog) __weak __ksym;

#define bpf_stream_printk(stream_id, fmt, args...)                                              \
	({                                                                                      \
		___bpf_words(static const char ___fmt[] = fmt, args)                            \
		bpf_stream_vprintk_impl(stream_id, ___fmt, ___param, sizeof(___param),          \
					(void *)0);                                             \
	})

/*
 * Loops over the kernel's iterators (Linux 6.4): the verifier checks the body once, not once per
 * round. The iterator is destroyed at the end of the scope however the loop is left: by its end,
 * `break`, `goto` or `return`.
 */
struct bpf_iter_num;

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __weak __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __weak __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __weak __ksym;

/* for each item of an iterator `bpf_iter_<type>`: `cur` is what its next() returns */
#ifndef bpf_for_each
#define bpf_for_each(type, cur, args...)                                                        \
	for (/* the iterator and its end; a second call of new() is never made */               \
	     struct bpf_iter_##type ___it __attribute__((aligned(8),                            \
				    cleanup(bpf_iter_##type##_destroy))),                       \
	     *___p __attribute__((unused)) = (bpf_iter_##type##_new(&___it, ##args),            \
				/* destroy() must be known although nothing calls it */         \
				(void)bpf_iter_##type##_destroy, (void *)0);                    \
	     (((cur) = bpf_iter_##type##_next(&___it)));)
#endif

/* for (i = start; i < end; i++), 32 bits and signed; inside the body start <= i < end is known */
#ifndef bpf_for
#define bpf_for(i, start, end)                                                                  \
	for (struct bpf_iter_num ___it __attribute__((aligned(8),                               \
				    cleanup(bpf_iter_num_destroy))),                            \
	     *___p __attribute__((unused)) = (bpf_iter_num_new(&___it, (start), (end)),         \
				(void)bpf_iter_num_destroy, (void *)0);                         \
	     ({                                                                                 \
		int *___t = bpf_iter_num_next(&___it);                                          \
		/* the bounds must be proven of the very register that the body uses */         \
		(___t && ((i) = *___t, (i) >= (start) && (i) < (end)));                         \
	     });)
#endif

/* the body N times, without a counter */
#ifndef bpf_repeat
#define bpf_repeat(N)                                                                           \
	for (struct bpf_iter_num ___it __attribute__((aligned(8),                               \
				    cleanup(bpf_iter_num_destroy))),                            \
	     *___p __attribute__((unused)) = (bpf_iter_num_new(&___it, 0, (N)),                 \
				(void)bpf_iter_num_destroy, (void *)0);                         \
	     bpf_iter_num_next(&___it);)
#endif

#endif /* __BPF_HELPERS__ */
