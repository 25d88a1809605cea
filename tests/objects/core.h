/* The builtins behind bpf_core_read.h, and where results go so that nothing is optimised away. */
#ifndef CORE_H
#define CORE_H
#include "helpers.h"

#define OFFSET 0
#define SIZE 1
#define EXISTS 2
#define SIGNED 3
#define LSHIFT 4
#define RSHIFT 5
#define field_info(field, what) __builtin_preserve_field_info(field, what)
#define type_id_local(type) __builtin_btf_type_id(*(__typeof__(type) *)0, 0)
#define type_id_kernel(type) __builtin_btf_type_id(*(__typeof__(type) *)0, 1)
#define type_exists(type) __builtin_preserve_type_info(*(__typeof__(type) *)0, 0)
#define type_size(type) __builtin_preserve_type_info(*(__typeof__(type) *)0, 1)
#define type_matches(type) __builtin_preserve_type_info(*(__typeof__(type) *)0, 2)
#define enum_exists(type, value) \
	__builtin_preserve_enum_value(*(__typeof__(type) *)value, 0)
#define enum_value(type, value) \
	__builtin_preserve_enum_value(*(__typeof__(type) *)value, 1)
#define CORE __attribute__((preserve_access_index))
#define PLACE(field) \
	do { \
		put(field_info(field, OFFSET)); put(field_info(field, SIZE)); \
		put(field_info(field, EXISTS)); \
	} while (0)
/* the compiler knows signedness and shifts of integers only */
#define ALL(field) \
	do { \
		PLACE(field); put(field_info(field, SIGNED)); \
		put(field_info(field, LSHIFT)); put(field_info(field, RSHIFT)); \
	} while (0)
#define TYPE(type) \
	do { \
		put(type_id_local(type)); put(type_id_kernel(type)); put(type_exists(type)); \
		put(type_size(type)); put(type_matches(type)); \
	} while (0)
#define VALUE(type, value) \
	do { put(enum_exists(type, value)); put(enum_value(type, value)); } while (0)

volatile u64 out;

static __attribute__((always_inline)) void put(u64 value)
{
	out = value;
}

#endif
