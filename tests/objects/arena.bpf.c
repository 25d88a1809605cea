/* An arena with global variables in it. */
#include "helpers.h"

#define __arena __attribute__((address_space(1)))

struct {
	__uint(type, 33);		/* BPF_MAP_TYPE_ARENA */
	__uint(map_flags, 1 << 10);	/* BPF_F_MMAPABLE */
	__uint(max_entries, 4);		/* pages */
} memory SEC(".maps");

u64 __arena counter = 40;
u32 __arena table[4];

SEC("syscall")
int count(void *ctx)
{
	counter += 2;
	table[3] = counter;
	asm volatile("" : : "r"(&memory));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
