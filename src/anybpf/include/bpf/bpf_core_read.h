/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bpf_core_read.h - compile once, run everywhere (CO-RE): reading kernel structs whose layout the
 * loader fills in, and asking what the kernel at hand has. Names and meaning are those of
 * libbpf's header of the same name.
 *
 * Include "vmlinux.h" or your own structs (with __attribute__((preserve_access_index)), naming
 * only the members that you use) and bpf_helpers.h before it.
 */
#ifndef __BPF_CORE_READ_H__
#define __BPF_CORE_READ_H__

#include "bpf_helpers.h"

/* what clang's __builtin_preserve_*() and __builtin_btf_type_id() are asked for */
enum bpf_field_info_kind {
	BPF_FIELD_BYTE_OFFSET = 0,
	BPF_FIELD_BYTE_SIZE = 1,
	BPF_FIELD_EXISTS = 2,
	BPF_FIELD_SIGNED = 3,
	BPF_FIELD_LSHIFT_U64 = 4,
	BPF_FIELD_RSHIFT_U64 = 5,
};

enum bpf_type_id_kind {
	BPF_TYPE_ID_LOCAL = 0,  /* in this program's BTF */
	BPF_TYPE_ID_TARGET = 1, /* in the kernel's */
};

enum bpf_type_info_kind {
	BPF_TYPE_EXISTS = 0,
	BPF_TYPE_SIZE = 1,
	BPF_TYPE_MATCHES = 2,
};

enum bpf_enum_value_kind {
	BPF_ENUMVAL_EXISTS = 0,
	BPF_ENUMVAL_VALUE = 1,
};

/*
 * Bitfields. The loader gives the offset and the size of the bytes that hold the field, and two
 * shifts: left to drop what is above it, right (with or without sign) to drop what is below.
 */
#define __CORE_RELO(src, field, info) \
	__builtin_preserve_field_info((src)->field, BPF_FIELD_##info)

/* where the bytes go within the 64-bit word depends on which end of it is low */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define __CORE_BITFIELD_PROBE_READ(dst, src, fld)                                       \
	bpf_probe_read_kernel((void *)dst, __CORE_RELO(src, fld, BYTE_SIZE),            \
			      (const void *)src + __CORE_RELO(src, fld, BYTE_OFFSET))
#else
#define __CORE_BITFIELD_PROBE_READ(dst, src, fld)                                       \
	bpf_probe_read_kernel((void *)dst + (8 - __CORE_RELO(src, fld, BYTE_SIZE)),     \
			      __CORE_RELO(src, fld, BYTE_SIZE),                         \
			      (const void *)src + __CORE_RELO(src, fld, BYTE_OFFSET))
#endif

/* drop the neighbours' bits of a word that was read */
#define ___core_bits(val, src, fld)                                                     \
	val <<= __CORE_RELO(src, fld, LSHIFT_U64);                                      \
	if (__CORE_RELO(src, fld, SIGNED))                                              \
		val = (long long)val >> __CORE_RELO(src, fld, RSHIFT_U64);              \
	else                                                                            \
		val = val >> __CORE_RELO(src, fld, RSHIFT_U64);                         \
	val;

/* the bitfield s->field, read with bpf_probe_read_kernel() */
#define BPF_CORE_READ_BITFIELD_PROBED(s, field)                                         \
	({                                                                              \
		unsigned long long ___val = 0;                                          \
		__CORE_BITFIELD_PROBE_READ(&___val, s, field);                          \
		___core_bits(___val, s, field)                                          \
	})

/* the bitfield s->field, read directly: for pointers that the verifier knows (fentry, tp_btf) */
#define BPF_CORE_READ_BITFIELD(s, field)                                                \
	({                                                                              \
		const void *___p = (const void *)s + __CORE_RELO(s, field, BYTE_OFFSET); \
		unsigned long long ___val = 0;                                          \
		/* one of four loads remains, at an offset that keeps its relocation */ \
		barrier_var(___p);                                                      \
		switch (__CORE_RELO(s, field, BYTE_SIZE)) {                             \
		case 1: ___val = *(const unsigned char *)___p; break;                   \
		case 2: ___val = *(const unsigned short *)___p; break;                  \
		case 4: ___val = *(const unsigned int *)___p; break;                    \
		case 8: ___val = *(const unsigned long long *)___p; break;              \
		}                                                                       \
		___core_bits(___val, s, field)                                          \
	})

/* store into the bitfield s->field and leave its neighbours as they are */
#define BPF_CORE_WRITE_BITFIELD(s, field, new_val)                                      \
	({                                                                              \
		void *___p = (void *)s + __CORE_RELO(s, field, BYTE_OFFSET);            \
		unsigned int ___bytes = __CORE_RELO(s, field, BYTE_SIZE);               \
		unsigned int ___left = __CORE_RELO(s, field, LSHIFT_U64);               \
		unsigned int ___right = __CORE_RELO(s, field, RSHIFT_U64);              \
		/* the field's place, counted from the low end of its bytes */          \
		unsigned int ___low = ___right - ___left;                               \
		unsigned long long ___mask = (~0ULL << ___right) >> ___left;            \
		unsigned long long ___new = ((unsigned long long)(new_val) << ___low) & ___mask; \
		barrier_var(___p);                                                      \
		switch (___bytes) {                                                     \
		case 1: ___core_merge(unsigned char, ___p, ___mask, ___new); break;     \
		case 2: ___core_merge(unsigned short, ___p, ___mask, ___new); break;    \
		case 4: ___core_merge(unsigned int, ___p, ___mask, ___new); break;      \
		case 8: ___core_merge(unsigned long long, ___p, ___mask, ___new); break; \
		}                                                                       \
	})
#define ___core_merge(type, p, mask, val) \
	*(type *)(p) = (type)((*(type *)(p) & ~(mask)) | (val))

/*
 * Questions about the kernel, answered by the loader as constants. A field is named by a value
 * (task->comm) or by type and name (struct task_struct, comm).
 */
#define ___bpf_field_ref1(field) (field)
#define ___bpf_field_ref2(type, field) (((typeof(type) *)0)->field)
#define ___bpf_field_ref(args...) ___bpf_apply(___bpf_field_ref, ___bpf_narg(args))(args)

#define bpf_core_field_exists(field...) \
	__builtin_preserve_field_info(___bpf_field_ref(field), BPF_FIELD_EXISTS)
#define bpf_core_field_size(field...) \
	__builtin_preserve_field_info(___bpf_field_ref(field), BPF_FIELD_BYTE_SIZE)
#define bpf_core_field_offset(field...) \
	__builtin_preserve_field_info(___bpf_field_ref(field), BPF_FIELD_BYTE_OFFSET)

/* BTF ids: of the type as this program has it, and of the kernel's that matches (0: none) */
#define bpf_core_type_id_local(type) \
	__builtin_btf_type_id(*(typeof(type) *)0, BPF_TYPE_ID_LOCAL)
#define bpf_core_type_id_kernel(type) \
	__builtin_btf_type_id(*(typeof(type) *)0, BPF_TYPE_ID_TARGET)

/* is there a type of this name and kind; with the same members, too; how large is it (0: none) */
#define bpf_core_type_exists(type) \
	__builtin_preserve_type_info(*(typeof(type) *)0, BPF_TYPE_EXISTS)
#define bpf_core_type_matches(type) \
	__builtin_preserve_type_info(*(typeof(type) *)0, BPF_TYPE_MATCHES)
#define bpf_core_type_size(type) \
	__builtin_preserve_type_info(*(typeof(type) *)0, BPF_TYPE_SIZE)

/* is there such an enumerator; its value (0: none) */
#define bpf_core_enum_value_exists(enum_type, enum_value) \
	__builtin_preserve_enum_value(*(typeof(enum_type) *)enum_value, BPF_ENUMVAL_EXISTS)
#define bpf_core_enum_value(enum_type, enum_value) \
	__builtin_preserve_enum_value(*(typeof(enum_type) *)enum_value, BPF_ENUMVAL_VALUE)

/*
 * Reading one place. `src` is the address of a member, &task->pid, whose offset becomes the
 * loader's business; the result is 0 or a negative error.
 */
#define bpf_core_read(dst, sz, src) \
	bpf_probe_read_kernel(dst, sz, (const void *)__builtin_preserve_access_index(src))
/* a struct of the user-space ABI, through a pointer into user memory */
#define bpf_core_read_user(dst, sz, src) \
	bpf_probe_read_user(dst, sz, (const void *)__builtin_preserve_access_index(src))
/* a string; the result is its length with the final zero */
#define bpf_core_read_str(dst, sz, src) \
	bpf_probe_read_kernel_str(dst, sz, (const void *)__builtin_preserve_access_index(src))
#define bpf_core_read_user_str(dst, sz, src) \
	bpf_probe_read_user_str(dst, sz, (const void *)__builtin_preserve_access_index(src))

extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;

/* take `ptr` for a pointer to the kernel's `type`, to be read directly (Linux 6.2) */
#define bpf_core_cast(ptr, type) \
	((typeof(type) *)bpf_rdonly_cast((ptr), bpf_core_type_id_kernel(type)))

/*
 * Reading along a chain of pointers: BPF_CORE_READ(task, mm, exe_file, f_inode, i_ino) is
 * task->mm->exe_file->f_inode->i_ino with a probe read for each arrow. Up to nine members.
 *
 * ___arrowN writes the chain with its arrows, ___lastN and ___nolastN split off the last member,
 * ___typeN is the type of what a chain leads to.
 */
#define ___last1(x) x
#define ___last2(a, x) x
#define ___last3(a, b, x) x
#define ___last4(a, b, c, x) x
#define ___last5(a, b, c, d, x) x
#define ___last6(a, b, c, d, e, x) x
#define ___last7(a, b, c, d, e, f, x) x
#define ___last8(a, b, c, d, e, f, g, x) x
#define ___last9(a, b, c, d, e, f, g, h, x) x
#define ___last10(a, b, c, d, e, f, g, h, i, x) x
#define ___last(...) ___bpf_apply(___last, ___bpf_narg(__VA_ARGS__))(__VA_ARGS__)

#define ___nolast2(a, _) a
#define ___nolast3(a, b, _) a, b
#define ___nolast4(a, b, c, _) a, b, c
#define ___nolast5(a, b, c, d, _) a, b, c, d
#define ___nolast6(a, b, c, d, e, _) a, b, c, d, e
#define ___nolast7(a, b, c, d, e, f, _) a, b, c, d, e, f
#define ___nolast8(a, b, c, d, e, f, g, _) a, b, c, d, e, f, g
#define ___nolast9(a, b, c, d, e, f, g, h, _) a, b, c, d, e, f, g, h
#define ___nolast10(a, b, c, d, e, f, g, h, i, _) a, b, c, d, e, f, g, h, i
#define ___nolast(...) ___bpf_apply(___nolast, ___bpf_narg(__VA_ARGS__))(__VA_ARGS__)

#define ___arrow1(a) a
#define ___arrow2(a, b) a->b
#define ___arrow3(a, b, c) a->b->c
#define ___arrow4(a, b, c, d) a->b->c->d
#define ___arrow5(a, b, c, d, e) a->b->c->d->e
#define ___arrow6(a, b, c, d, e, f) a->b->c->d->e->f
#define ___arrow7(a, b, c, d, e, f, g) a->b->c->d->e->f->g
#define ___arrow8(a, b, c, d, e, f, g, h) a->b->c->d->e->f->g->h
#define ___arrow9(a, b, c, d, e, f, g, h, i) a->b->c->d->e->f->g->h->i
#define ___arrow10(a, b, c, d, e, f, g, h, i, j) a->b->c->d->e->f->g->h->i->j
#define ___arrow(...) ___bpf_apply(___arrow, ___bpf_narg(__VA_ARGS__))(__VA_ARGS__)

#define ___type(...) typeof(___arrow(__VA_ARGS__))

/* one probe read of `a`, the chain so far being the type of `src_type` and its value in `src` */
#define ___read(read_fn, dst, src_type, src, accessor) \
	read_fn((void *)(dst), sizeof(*(dst)), &((src_type)(src))->accessor)

/* the first arrow reads from the caller's pointer, each further one from what was read: __t */
#define ___rd_first(fn, src, a) ___read(fn, &__t, ___type(src), src, a);
#define ___rd_last(fn, ...) \
	___read(fn, &__t, ___type(___nolast(__VA_ARGS__)), __t, ___last(__VA_ARGS__));
#define ___rd_p1(fn, ...) const void *__t; ___rd_first(fn, __VA_ARGS__)
#define ___rd_p2(fn, ...) ___rd_p1(fn, ___nolast(__VA_ARGS__)) ___rd_last(fn, __VA_ARGS__)
#define ___rd_p3(fn, ...) ___rd_p2(fn, ___nolast(__VA_ARGS__)) ___rd_last(fn, __VA_ARGS__)
#define ___rd_p4(fn, ...) ___rd_p3(fn, ___nolast(__VA_ARGS__)) ___rd_last(fn, __VA_ARGS__)
#define ___rd_p5(fn, ...) ___rd_p4(fn, ___nolast(__VA_ARGS__)) ___rd_last(fn, __VA_ARGS__)
#define ___rd_p6(fn, ...) ___rd_p5(fn, ___nolast(__VA_ARGS__)) ___rd_last(fn, __VA_ARGS__)
#define ___rd_p7(fn, ...) ___rd_p6(fn, ___nolast(__VA_ARGS__)) ___rd_last(fn, __VA_ARGS__)
#define ___rd_p8(fn, ...) ___rd_p7(fn, ___nolast(__VA_ARGS__)) ___rd_last(fn, __VA_ARGS__)
#define ___rd_p9(fn, ...) ___rd_p8(fn, ___nolast(__VA_ARGS__)) ___rd_last(fn, __VA_ARGS__)
#define ___rd_ptrs(fn, src, ...) \
	___bpf_apply(___rd_p, ___bpf_narg(__VA_ARGS__))(fn, src, __VA_ARGS__)

/* the last arrow of a chain with pointers before it, and of a chain of one arrow */
#define ___core_read0(fn, fn_ptr, dst, src, a) \
	___read(fn, dst, ___type(src), src, a);
#define ___core_readN(fn, fn_ptr, dst, src, ...)                        \
	___rd_ptrs(fn_ptr, src, ___nolast(__VA_ARGS__))                 \
	___read(fn, dst, ___type(src, ___nolast(__VA_ARGS__)), __t, ___last(__VA_ARGS__));
#define ___core_read(fn, fn_ptr, dst, src, a, ...)                      \
	___bpf_apply(___core_read, ___bpf_empty(__VA_ARGS__))(fn, fn_ptr, dst, src, a, ##__VA_ARGS__)

/* 0 if there is no argument, N if there are some */
#define ___bpf_empty(...) \
	___bpf_nth(_, ##__VA_ARGS__, N, N, N, N, N, N, N, N, N, N, N, N, 0)

/* read what the chain leads to into *dst; kernel memory, user memory, strings of either */
#define BPF_CORE_READ_INTO(dst, src, a, ...) \
	({ ___core_read(bpf_core_read, bpf_core_read, dst, (src), a, ##__VA_ARGS__) })
#define BPF_CORE_READ_USER_INTO(dst, src, a, ...) \
	({ ___core_read(bpf_core_read_user, bpf_core_read_user, dst, (src), a, ##__VA_ARGS__) })
#define BPF_CORE_READ_STR_INTO(dst, src, a, ...) \
	({ ___core_read(bpf_core_read_str, bpf_core_read, dst, (src), a, ##__VA_ARGS__) })
#define BPF_CORE_READ_USER_STR_INTO(dst, src, a, ...) \
	({ ___core_read(bpf_core_read_user_str, bpf_core_read_user, dst, (src), a, ##__VA_ARGS__) })

/* the same without CO-RE: offsets are those of the program's own headers */
#define BPF_PROBE_READ_INTO(dst, src, a, ...) \
	({ ___core_read(bpf_probe_read, bpf_probe_read, dst, (src), a, ##__VA_ARGS__) })
#define BPF_PROBE_READ_USER_INTO(dst, src, a, ...) \
	({ ___core_read(bpf_probe_read_user, bpf_probe_read_user, dst, (src), a, ##__VA_ARGS__) })
#define BPF_PROBE_READ_STR_INTO(dst, src, a, ...) \
	({ ___core_read(bpf_probe_read_str, bpf_probe_read, dst, (src), a, ##__VA_ARGS__) })
#define BPF_PROBE_READ_USER_STR_INTO(dst, src, a, ...) \
	({ ___core_read(bpf_probe_read_user_str, bpf_probe_read_user, dst, (src), a, ##__VA_ARGS__) })

/* the value that the chain leads to; zeroes where it cannot be read */
#define ___read_value(into, src, a, ...)                                \
	({                                                              \
		___type((src), a, ##__VA_ARGS__) __r;                   \
		into(&__r, (src), a, ##__VA_ARGS__);                    \
		__r;                                                    \
	})
#define BPF_CORE_READ(src, a, ...) \
	___read_value(BPF_CORE_READ_INTO, src, a, ##__VA_ARGS__)
#define BPF_CORE_READ_USER(src, a, ...) \
	___read_value(BPF_CORE_READ_USER_INTO, src, a, ##__VA_ARGS__)
#define BPF_PROBE_READ(src, a, ...) \
	___read_value(BPF_PROBE_READ_INTO, src, a, ##__VA_ARGS__)
#define BPF_PROBE_READ_USER(src, a, ...) \
	___read_value(BPF_PROBE_READ_USER_INTO, src, a, ##__VA_ARGS__)

#endif /* __BPF_CORE_READ_H__ */
