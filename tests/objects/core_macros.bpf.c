/* One of each question that a program can ask about the kernel's types. */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

enum kind { KIND_ONE = 1, KIND_TWO = 2 };

struct third {
	int value;
	char name[8];
} __attribute__((preserve_access_index));

struct second {
	struct third *third;
	enum kind kind;
} __attribute__((preserve_access_index));

struct one {
	long pad;
	struct second *second;
} __attribute__((preserve_access_index));

long answers[16];
char name[8];

SEC("raw_tp")
int questions(struct one *one)
{
	answers[0] = bpf_core_field_exists(one->second);
	answers[1] = bpf_core_field_exists(struct second, kind);
	answers[2] = bpf_core_field_size(struct third, name);
	answers[3] = bpf_core_field_offset(one->second);
	answers[4] = bpf_core_type_exists(struct third);
	answers[5] = bpf_core_type_size(struct third);
	answers[6] = bpf_core_type_matches(struct third);
	answers[7] = bpf_core_type_id_local(struct third);
	answers[8] = bpf_core_type_id_kernel(struct third);
	answers[9] = bpf_core_enum_value_exists(enum kind, KIND_TWO);
	answers[10] = bpf_core_enum_value(enum kind, KIND_TWO);
	answers[11] = BPF_CORE_READ(one, second, third, value);
	answers[12] = BPF_CORE_READ_USER(one, second, kind);
	answers[13] = BPF_CORE_READ_STR_INTO(&name, one, second, third, name);
	answers[14] = BPF_PROBE_READ(one, second, third, value) + BPF_PROBE_READ_USER(one, pad);
	bpf_core_read(&answers[15], sizeof(long), &one->pad);
	bpf_core_read_user(&answers[15], sizeof(long), &one->pad);
	bpf_core_read_str(name, sizeof(name), &one->pad);
	return bpf_core_read_user_str(name, sizeof(name), &one->pad);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
