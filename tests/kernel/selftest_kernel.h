// What the selftests' kernel module includes instead of the kernel's headers: it is compiled so
// that its types, kernel functions and struct_ops can be registered in the guest, and is never
// run. What is called and is neither defined here nor exported by the guest's kernel returns 0
// (selftest_module.py).
#pragma once
#define __KERNEL__
#define BPF_NO_PRESERVE_ACCESS_INDEX
#define BPF_NO_KFUNC_PROTOTYPES
// the module has them, too
#define prog_test_member of_vmlinux_member
#define prog_test_member1 of_vmlinux_member1
#define prog_test_ref_kfunc of_vmlinux_ref_kfunc
#include "vmlinux.h"
#undef prog_test_member
#undef prog_test_member1
#undef prog_test_ref_kfunc

#define rcu_head callback_head

// -- the language

#define noinline __attribute__((noinline))
#define __weak __attribute__((weak))
#define __used __attribute__((used))
#define __user
#define __percpu
#define __ro_after_init
#define __init
#define __exit
#define __ksym
#define NULL ((void *)0)
#define true 1
#define false 0
#define offsetof(type, member) __builtin_offsetof(type, member)
#define sizeof_field(type, member) sizeof(((type *)0)->member)
#define offsetofend(type, member) (offsetof(type, member) + sizeof_field(type, member))
#define container_of(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define PARAMS(...) __VA_ARGS__
#define BUILD_BUG_ON(wrong) _Static_assert(!(wrong), #wrong)
#define WARN_ON_ONCE(wrong) (wrong)
#define WRITE_ONCE(place, value) ((void)((place) = (value)))
#define READ_ONCE(place) (place)
#define barrier() asm volatile("" ::: "memory")
#define fallthrough __attribute__((fallthrough))
#define IS_ERR(pointer) ((unsigned long)(pointer) >= (unsigned long)-4095)
#define PTR_ERR(pointer) ((long)(pointer))
#define pr_err(...)
#define pr_warn(...)
#define pr_info(...)
#define printk(...)

// -- modules

#define THIS_MODULE (&__this_module)
#define EXPORT_SYMBOL(name)
#define EXPORT_SYMBOL_GPL(name)
#define ALLOW_ERROR_INJECTION(name, kind)
#define MODULE_AUTHOR(text)
#define MODULE_DESCRIPTION(text)
#define MODULE_LICENSE(text)
#define module_init(name) int init_module(void) { return name(); }
#define module_exit(name) void cleanup_module(void) { }

extern int init_module(void);
extern void cleanup_module(void);
struct module __this_module __attribute__((section(".gnu.linkonce.this_module"))) = {
	.name = MODULE_NAME,
	.init = init_module,
	.exit = cleanup_module,
};

#define INFORMATION(key, text) \
	static const char info_##key[] __used __attribute__((section(".modinfo"))) = #key "=" text
INFORMATION(license, "GPL");
INFORMATION(name, MODULE_NAME);
INFORMATION(depends, "");
INFORMATION(vermagic, VERMAGIC);

// -- variables

#define DEFINE_PER_CPU(type, name) type name __attribute__((section(".data..percpu")))
#define this_cpu_ptr(pointer) (pointer)
#define current ((struct task_struct *)0)
#define HZ 250
#define DEFINE_MUTEX(name) struct mutex name
#define DEFINE_SPINLOCK(name) spinlock_t name
#define DECLARE_TASKLET(name, function) struct tasklet_struct name
#define IRQ_WORK_INIT_HARD(function) { .func = function }
#define REFCOUNT_INIT(count) { .refs = { count } }
#define INIT_HLIST_HEAD(head) ((head)->first = 0)
#define spin_lock_init(lock)
#define spin_lock_irqsave(lock, flags) ((flags) = 0)
#define spin_unlock_irqrestore(lock, flags)
#define mutex_init(lock)
#define hlist_for_each_entry(place, head, member) \
	for (struct hlist_node *at = (head)->first; \
	     at && (place = container_of(at, typeof(*place), member)); at = at->next)
#define __btf_member_bit_offset(type, member) ((member)->offset & 0xffffff)

#define GFP_KERNEL 0
#define GFP_ATOMIC 0
#define LOOKUP_FOLLOW 0
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define PF_UNIX 1
#define EPERM 1
#define EIO 5
#define ENOMEM 12
#define EACCES 13
#define EBUSY 16
#define EEXIST 17
#define EINVAL 22
#define ITER_SOURCE 1
#define VSYSCALL_ADDR 0
#ifndef TASK_COMM_LEN
#define TASK_COMM_LEN 16
#endif

// -- what is run when programs are verified

static int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a - *b;
}

static int strncmp(const char *a, const char *b, unsigned long most)
{
	while (most && *a && *a == *b)
		a++, b++, most--;
	return most ? *a - *b : 0;
}

#define strlen(text) __builtin_strlen(text)

#define INSN(op, dst, src, offset, number) \
	((struct bpf_insn){ .code = op, .dst_reg = dst, .src_reg = src, .off = offset, \
			    .imm = number })
#define BPF_REG_FP BPF_REG_10
#define BPF_MOV64_REG(dst, src) INSN(0xbf, dst, src, 0, 0)
#define BPF_MOV64_IMM(dst, number) INSN(0xb7, dst, 0, 0, number)
#define BPF_ALU64_IMM(op, dst, number) INSN(0x07 | op, dst, 0, 0, number)
#define BPF_JMP_IMM(op, dst, number, offset) INSN(0x05 | op, dst, 0, offset, number)
#define BPF_LDX_MEM(size, dst, src, offset) INSN(0x61 | size, dst, src, offset, 0)
#define BPF_STX_MEM(size, dst, src, offset) INSN(0x63 | size, dst, src, offset, 0)
#define BPF_CALL_KFUNC(offset, number) INSN(0x85, 0, 2, offset, number)
#define BPF_EXIT_INSN() INSN(0x95, 0, 0, 0, 0)
#define BPF_DW 0x18
#define BPF_ADD 0x00
#define BPF_MUL 0x20
#define BPF_JA 0x00
#define BPF_JNE 0x50

// -- kernel functions: ids are filled in when there are types (selftest_module_btf.py)

#define __bpf_kfunc __used noinline
#define __bpf_kfunc_start_defs()
#define __bpf_kfunc_end_defs()
#define __bpf_hook_start()
#define __bpf_hook_end()
#define __diag_push()
#define __diag_pop()
#define __diag_ignore_all(...)
#define CFI_NOSEAL(name)
#define BTF_TYPE_EMIT(type) ((void)(type *)0)

// a set: the count of pairs, flags of the set, pairs of id and flags; `.ids` tells what goes there
#define ID(text, flags) \
	asm(".pushsection .ids, \"\", @progbits\n.ascii \"" text "\\0\"\n.popsection\n" \
	    ".pushsection .BTF_ids, \"a\", @progbits\n.long 0\n" flags ".popsection\n");
#define SET(name) \
	extern struct btf_id_set8 name; \
	asm(".pushsection .BTF_ids, \"a\", @progbits\n.balign 4\n.global " #name "\n" #name ":\n" \
	    ".popsection\n"); \
	ID("set " #name, ".long 1\n")
#define BTF_KFUNCS_START(name) SET(name)
#define BTF_SET8_START(name) SET(name)
#define BTF_KFUNCS_END(name) ID_END
#define BTF_SET8_END(name) ID_END
#define ID_END asm(".pushsection .ids, \"\", @progbits\n.ascii \"end\\0\"\n.popsection\n");
#define TEXT(x) #x
#define FLAGS(x) TEXT(x)
#define BTF_ID_FLAGS_(kind, name, flags, ...) ID(#kind " " #name, ".long " FLAGS(flags) "\n")
#define BTF_ID_FLAGS(kind, ...) BTF_ID_FLAGS_(kind, __VA_ARGS__, 0)
#define BTF_ID_LIST(name) \
	extern u32 name[]; \
	asm(".pushsection .BTF_ids, \"a\", @progbits\n.balign 4\n.global " #name "\n" #name ":\n" \
	    ".popsection\n");
#define BTF_ID(kind, name) ID(#kind " " #name, "")

#define KF_ACQUIRE (1 << 0)
#define KF_RELEASE (1 << 1)
#define KF_RET_NULL (1 << 2)
#define KF_TRUSTED_ARGS (1 << 4)
#define KF_SLEEPABLE (1 << 5)
#define KF_DESTRUCTIVE (1 << 6)
#define KF_RCU (1 << 7)
#define KF_ITER_NEW (1 << 8)
#define KF_ITER_NEXT (1 << 9)
#define KF_ITER_DESTROY (1 << 10)
#define KF_RCU_PROTECTED (1 << 11)
#define KF_FASTCALL (1 << 12)
// of newer kernels
#define KF_IMPLICIT_ARGS 0

// the type is declared at the end (selftest_module.py)
#define register_bpf_struct_ops(operations, type) __register_bpf_struct_ops(operations)
#define STRUCT_OPS(type) \
	struct bpf_struct_ops_##type { \
		struct bpf_struct_ops_common_value common; \
		struct type data __attribute__((aligned(64))); \
	} value_of_##type;

extern bool btf_ctx_access(int off, int size, enum bpf_access_type type,
			   const struct bpf_prog *prog, struct bpf_insn_access_aux *info);
extern const struct bpf_func_proto *bpf_base_func_proto(enum bpf_func_id func_id,
							const struct bpf_prog *prog);
extern struct kobject *kernel_kobj;

#define MOST_ARGUMENTS 12

// whole arguments, or parts of them that are aligned, are read
static bool bpf_tracing_btf_ctx_access(int off, int size, enum bpf_access_type type,
				       const struct bpf_prog *prog,
				       struct bpf_insn_access_aux *info)
{
	return off >= 0 && off < 8 * MOST_ARGUMENTS && off % size == 0 && type == BPF_READ &&
	       btf_ctx_access(off, size, type, prog, info);
}

// -- tracepoints

#define TP_PROTO(...) __VA_ARGS__
#define TP_ARGS(...) __VA_ARGS__
#define TRACEPOINT(...) TRACEPOINT_(__VA_ARGS__)
#define TRACEPOINT_(call, bytes, ...) \
	typedef void (*btf_trace_##call)(void *__data, __VA_ARGS__); \
	btf_trace_##call typedef_of_##call __used; \
	__used noinline void __bpf_trace_##call(void *__data, __VA_ARGS__) { } \
	static const char name_of_##call[] = #call; \
	static struct tracepoint __tracepoint_##call = { .name = name_of_##call }; \
	static struct bpf_raw_event_map map_of_##call __used \
		__attribute__((section("__bpf_raw_tp_map"), aligned(32))) = { \
		.tp = &__tracepoint_##call, .bpf_func = __bpf_trace_##call, \
		.num_args = 12, .writable_size = bytes };
#define TRACE_EVENT(call, proto, ...) TRACEPOINT(call, 0, proto)
#define DECLARE_TRACE(call, proto, args) TRACEPOINT(DECLARED(call), 0, proto)
#define DECLARE_TRACE_WRITABLE(call, proto, args, size) TRACEPOINT(DECLARED(call), size, proto)
