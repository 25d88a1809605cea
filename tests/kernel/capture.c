// Preloaded into bpftool: keeps what its libbpf hands to BPF_PROG_LOAD, and has every program
// "load", so that what the kernel thinks of the code does not matter. With CAPTURE_BTF the kernel's
// types are those of that file.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void keep(const union bpf_attr *attr)
{
	static int number;
	char path[512];
	FILE *out;

	snprintf(path, sizeof(path), "%s/%03d.%s", getenv("CAPTURE_DIR"), number++, attr->prog_name);
	out = fopen(path, "w");
	if (!out)
		exit(99);
	fwrite((const void *)attr->insns, 8, attr->insn_cnt, out);
	fclose(out);
}

static int placeholder(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

long syscall(long number, ...)
{
	static long (*next)(long, ...);
	long a[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (!next)
		next = dlsym(RTLD_NEXT, "syscall");
	if (number == SYS_bpf && a[0] == BPF_PROG_LOAD) {
		const union bpf_attr *attr = (const union bpf_attr *)a[1];
		const char *wanted = getenv("CAPTURE_NAMES");
		char marked[BPF_OBJ_NAME_LEN + 3];

		snprintf(marked, sizeof(marked), ",%s,", attr->prog_name);
		if (attr->prog_name[0] && strstr(wanted, marked)) {
			keep(attr);
			return placeholder();
		}
	}
	long answer = next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (answer < 0 && number == SYS_bpf && a[0] == BPF_MAP_CREATE)
		answer = placeholder();		// its size, say, is what the object's user sets
	return answer;
}

FILE *fopen(const char *path, const char *mode)
{
	static FILE *(*next)(const char *, const char *);
	const char *other = getenv("CAPTURE_BTF");

	if (!next)
		next = dlsym(RTLD_NEXT, "fopen");
	return next(other && !strcmp(path, "/sys/kernel/btf/vmlinux") ? other : path, mode);
}

FILE *fopen64(const char *path, const char *mode)
{
	return fopen(path, mode);
}
