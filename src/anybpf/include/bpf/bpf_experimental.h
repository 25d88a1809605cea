/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bpf_experimental.h - what newer kernels offer and libbpf's headers do not name yet: loops that
 * end themselves, objects, lists, trees and exceptions. Names and meaning are those that the
 * kernel's own BPF programs use.
 *
 * Include bpf_helpers.h and bpf_core_read.h, and "vmlinux.h" for struct bpf_list_head and its kin.
 */
#ifndef __BPF_EXPERIMENTAL_H__
#define __BPF_EXPERIMENTAL_H__

#include "bpf_helpers.h"
#include "bpf_core_read.h"

/*
 * may_goto (Linux 6.9) jumps when the program has looped for too long, and not before. So the
 * verifier knows that a loop with it ends, whatever its condition:
 *
 *	for (i = zero; i < count && can_loop; i++) ...
 *	while (node) { node = node->next; cond_break; }
 */
#ifdef __BPF_FEATURE_MAY_GOTO
#define ___bpf_may_goto(label) asm volatile goto("may_goto %l[" #label "]" :::: label)
#elif __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
/* the compiler does not know the instruction: opcode, registers, 16-bit offset, 32 zero bits */
#define ___bpf_may_goto(label)                                                          \
	asm volatile goto("1:.byte 0xe5;.byte 0;"                                       \
			  ".long ((%l[" #label "] - 1b - 8) / 8) & 0xffff;.short 0"     \
			  :::: label)
#else
#define ___bpf_may_goto(label)                                                          \
	asm volatile goto("1:.byte 0xe5;.byte 0;"                                       \
			  ".long (((%l[" #label "] - 1b - 8) / 8) & 0xffff) << 16;.short 0" \
			  :::: label)
#endif

#define ___bpf_on_may_goto(expr)                                                        \
	({                                                                              \
		__label__ l_break, l_continue;                                          \
		___bpf_may_goto(l_break);                                               \
		goto l_continue;                                                        \
	l_break:                                                                        \
		expr;                                                                   \
	l_continue:;                                                                    \
	})

/* true until the loop has run for too long */
#ifndef can_loop
#define can_loop                                                                        \
	({                                                                              \
		_Bool ___go = 1;                                                        \
		___bpf_on_may_goto(___go = 0);                                          \
		___go;                                                                  \
	})
#endif
/* leave the loop (or go to a label) when it has run for too long */
#ifndef cond_break
#define cond_break ___bpf_on_may_goto(break)
#endif
#ifndef cond_break_label
#define cond_break_label(label) ___bpf_on_may_goto(goto label)
#endif

/* a list head or tree root of objects of struct `name`, linked through their member `node` */
#define __contains(name, node) __attribute__((btf_decl_tag("contains:" #name ":" #node)))
/* a variable in a section of its own, so that its lock guards just this map value */
#ifndef private
#define private(name) SEC(".data." #name) __hidden __attribute__((aligned(8)))
#endif

/* objects of the program's own struct types (Linux 6.2); new ones may be missing (0) */
extern void *bpf_obj_new_impl(__u64 local_type_id, void *meta) __ksym __weak;
extern void bpf_obj_drop_impl(void *kptr, void *meta) __ksym __weak;
extern void *bpf_refcount_acquire_impl(void *kptr, void *meta) __ksym __weak;
extern void *bpf_percpu_obj_new_impl(__u64 local_type_id, void *meta) __ksym __weak;
extern void bpf_percpu_obj_drop_impl(void *kptr, void *meta) __ksym __weak;

#define bpf_obj_new(type) ((type *)bpf_obj_new_impl(bpf_core_type_id_local(type), (void *)0))
#define bpf_obj_drop(kptr) bpf_obj_drop_impl(kptr, (void *)0)
#define bpf_refcount_acquire(kptr) bpf_refcount_acquire_impl(kptr, (void *)0)
#define bpf_percpu_obj_new(type) \
	((type __percpu_kptr *)bpf_percpu_obj_new_impl(bpf_core_type_id_local(type), (void *)0))
#define bpf_percpu_obj_drop(kptr) bpf_percpu_obj_drop_impl(kptr, (void *)0)

/* linked lists (Linux 6.2) and trees (Linux 6.3) of them, under a bpf_spin_lock beside the head */
struct bpf_list_head;
struct bpf_list_node;
struct bpf_rb_root;
struct bpf_rb_node;

extern int bpf_list_push_front_impl(struct bpf_list_head *head, struct bpf_list_node *node,
				    void *meta, __u64 off) __ksym __weak;
extern int bpf_list_push_back_impl(struct bpf_list_head *head, struct bpf_list_node *node,
				   void *meta, __u64 off) __ksym __weak;
extern struct bpf_list_node *bpf_list_pop_front(struct bpf_list_head *head) __ksym __weak;
extern struct bpf_list_node *bpf_list_pop_back(struct bpf_list_head *head) __ksym __weak;
extern int bpf_rbtree_add_impl(struct bpf_rb_root *root, struct bpf_rb_node *node,
			       _Bool (*less)(struct bpf_rb_node *a, const struct bpf_rb_node *b),
			       void *meta, __u64 off) __ksym __weak;
extern struct bpf_rb_node *bpf_rbtree_remove(struct bpf_rb_root *root,
					     struct bpf_rb_node *node) __ksym __weak;
extern struct bpf_rb_node *bpf_rbtree_first(struct bpf_rb_root *root) __ksym __weak;

#define bpf_list_push_front(head, node) bpf_list_push_front_impl(head, node, (void *)0, 0)
#define bpf_list_push_back(head, node) bpf_list_push_back_impl(head, node, (void *)0, 0)
#define bpf_rbtree_add(root, node, less) bpf_rbtree_add_impl(root, node, less, (void *)0, 0)

/* end the program with this result, from any function of it (Linux 6.7) */
extern void bpf_throw(__u64 cookie) __ksym __weak;
/* before a program: its result is what the global function `name` makes of the cookie */
#define __exception_cb(name) __attribute__((btf_decl_tag("exception_callback:" #name)))

#define bpf_assert(cond) if (!(cond)) bpf_throw(0);
#define bpf_assert_with(cond, value) if (!(cond)) bpf_throw(value);

#endif /* __BPF_EXPERIMENTAL_H__ */
