// Compiled together with the kernel's own test_verifier.c, which is included from where it lies:
// stands in for libbpf and, instead of loading anything, writes a line of JSON for each object
// that a test would make. Descriptors and type ids are placeholders; the reader of the lines puts
// real ones in their place.
#include <stddef.h>
#include <bpf/bpf.h>

// libbpf changed the constness of their last argument
static int record_btf(const void *data, size_t size, const void *opts);
static int record_prog(enum bpf_prog_type type, const char *name, const char *license,
		       const struct bpf_insn *insns, size_t count,
		       const struct bpf_prog_load_opts *opts);
#define bpf_btf_load record_btf
#define bpf_prog_load record_prog
#define main their_main
#include "test_verifier.c"
#undef main

#define FIRST_FD 100000
#define FIRST_ID 200000

static FILE *out;
static int next_fd, next_id;
static int key_sizes[64], value_sizes[64];

static void hex(const char *name, const void *data, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *bytes = data;

	fprintf(out, ", \"%s\": \"", name);
	for (size_t i = 0; bytes && i < size; i++) {
		putc(digits[bytes[i] >> 4], out);
		putc(digits[bytes[i] & 15], out);
	}
	putc('"', out);
}

static void number(const char *name, long long value)
{
	fprintf(out, ", \"%s\": %lld", name, value);
}

static void text(const char *name, const char *value)
{
	hex(name, value, value ? strlen(value) : 0);
}

static void begin(const char *kind)
{
	fprintf(out, "{\"kind\": \"%s\"", kind);
}

static void end(void)
{
	fputs("}\n", out);
}

static int new_fd(void)
{
	number("fd", FIRST_FD + next_fd);
	end();
	return FIRST_FD + next_fd++;
}

int bpf_map_create(enum bpf_map_type type, const char *name, __u32 key, __u32 value, __u32 entries,
		   const struct bpf_map_create_opts *opts)
{
	begin("map");
	number("type", type);
	text("name", name);
	number("key", key);
	number("value", value);
	number("entries", entries);
	number("flags", opts ? opts->map_flags : 0);
	number("inner", opts ? opts->inner_map_fd : 0);
	number("btf", opts ? opts->btf_fd : 0);
	number("key_type", opts ? opts->btf_key_type_id : 0);
	number("value_type", opts ? opts->btf_value_type_id : 0);
	key_sizes[next_fd & 63] = key;
	value_sizes[next_fd & 63] = value;
	return new_fd();
}

int bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags)
{
	begin("update");
	number("fd", fd);
	hex("key", key, key_sizes[(fd - FIRST_FD) & 63]);
	hex("value", value, value_sizes[(fd - FIRST_FD) & 63]);
	end();
	return 0;
}

static int record_btf(const void *data, size_t size, const void *opts)
{
	begin("btf");
	hex("data", data, size);
	return new_fd();
}

static int record_prog(enum bpf_prog_type type, const char *name, const char *license,
		       const struct bpf_insn *insns, size_t count,
		       const struct bpf_prog_load_opts *opts)
{
	begin(opts ? "prog" : "dummy");
	number("type", type);
	text("license", license);
	hex("insns", insns, count * sizeof(*insns));
	if (!opts)
		return new_fd();
	number("attach_type", opts->expected_attach_type);
	number("flags", opts->prog_flags);
	number("attach_id", opts->attach_btf_id);
	number("btf", opts->prog_btf_fd);
	number("func_size", opts->func_info_rec_size);
	number("func_count", opts->func_info_cnt);
	hex("func_info", opts->func_info, opts->func_info_rec_size * opts->func_info_cnt);
	end();
	errno = EPERM;
	return -1;
}

static int named(const char *name)
{
	begin("id");
	text("name", name);
	number("id", FIRST_ID + next_id);
	end();
	return FIRST_ID + next_id++;
}

int libbpf_find_vmlinux_btf_id(const char *name, enum bpf_attach_type attach_type)
{
	begin("attach");
	text("name", name);
	number("attach_type", attach_type);
	number("id", FIRST_ID + next_id);
	end();
	return FIRST_ID + next_id++;
}

__s32 btf__find_by_name_kind(const struct btf *btf, const char *name, __u32 kind)
{
	return named(name);
}

struct btf *btf__load_vmlinux_btf(void)
{
	return (struct btf *)&next_id;
}

struct btf *btf__load_from_kernel_by_id_split(__u32 id, struct btf *base)
{
	return NULL;
}

void btf__free(struct btf *btf)
{
}

int bpf_btf_get_next_id(__u32 start, __u32 *next)
{
	errno = ENOENT;
	return -1;
}

int libbpf_probe_bpf_map_type(enum bpf_map_type type, const void *opts)
{
	return 1;
}

int libbpf_probe_bpf_prog_type(enum bpf_prog_type type, const void *opts)
{
	return 1;
}

int cap_enable_effective(__u64 caps, __u64 *old)
{
	return 0;
}

int cap_disable_effective(__u64 caps, __u64 *old)
{
	return 0;
}

int main(int argc, char **argv)
{
	int passes, errors;
	const char *file = "";

	out = fopen(argv[1], "w");
	if (!out || !freopen("/dev/null", "w", stdout))
		return 1;
	srand(1);
	bpf_semi_rand_init();
	srand(1);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		if (tests[i].descr[0] == '@') {
			file = tests[i].descr + 1;
			continue;
		}
		next_fd = next_id = 0;
		begin("test");
		text("file", file);
		text("name", tests[i].descr);
		end();
		do_test_single(&tests[i], false, &passes, &errors);
	}
	return fclose(out) != 0;
}
