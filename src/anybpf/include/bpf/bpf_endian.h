/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bpf_endian.h - byte order of integers in a BPF program.
 *
 * bpf_htons() and its sisters turn host order into network order and back; bpf_cpu_to_be16() and
 * its sisters name both sides. Constants are folded by the compiler, variables become one swap
 * instruction, or none on a big-endian target. No kernel header is needed.
 */
#ifndef __BPF_ENDIAN__
#define __BPF_ENDIAN__

/* bytes of a value of a known size, last one first, as a constant expression */
#define ___bpf_mvb(x, bits, from, to) \
	((__u##bits)(((__u##bits)(x) >> ((from) * 8) & 0xff) << ((to) * 8)))
#define ___bpf_swab16(x) ((__u16)(___bpf_mvb(x, 16, 0, 1) | ___bpf_mvb(x, 16, 1, 0)))
#define ___bpf_swab32(x)                                                \
	((__u32)(___bpf_mvb(x, 32, 0, 3) | ___bpf_mvb(x, 32, 1, 2) |    \
		 ___bpf_mvb(x, 32, 2, 1) | ___bpf_mvb(x, 32, 3, 0)))
#define ___bpf_swab64(x)                                                \
	((__u64)(___bpf_mvb(x, 64, 0, 7) | ___bpf_mvb(x, 64, 1, 6) |    \
		 ___bpf_mvb(x, 64, 2, 5) | ___bpf_mvb(x, 64, 3, 4) |    \
		 ___bpf_mvb(x, 64, 4, 3) | ___bpf_mvb(x, 64, 5, 2) |    \
		 ___bpf_mvb(x, 64, 6, 1) | ___bpf_mvb(x, 64, 7, 0)))

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define __bpf_ntohs(x) __builtin_bswap16(x)
#define __bpf_ntohl(x) __builtin_bswap32(x)
#define __bpf_be64_to_cpu(x) __builtin_bswap64(x)
#define __bpf_constant_ntohs(x) ___bpf_swab16(x)
#define __bpf_constant_ntohl(x) ___bpf_swab32(x)
#define __bpf_constant_be64_to_cpu(x) ___bpf_swab64(x)
#elif __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define __bpf_ntohs(x) (x)
#define __bpf_ntohl(x) (x)
#define __bpf_be64_to_cpu(x) (x)
#define __bpf_constant_ntohs(x) (x)
#define __bpf_constant_ntohl(x) (x)
#define __bpf_constant_be64_to_cpu(x) (x)
#else
#error "the compiler does not say its byte order"
#endif

/* swapping is its own inverse */
#define __bpf_htons(x) __bpf_ntohs(x)
#define __bpf_htonl(x) __bpf_ntohl(x)
#define __bpf_cpu_to_be64(x) __bpf_be64_to_cpu(x)
#define __bpf_constant_htons(x) __bpf_constant_ntohs(x)
#define __bpf_constant_htonl(x) __bpf_constant_ntohl(x)
#define __bpf_constant_cpu_to_be64(x) __bpf_constant_be64_to_cpu(x)

#define ___bpf_order(x, name) \
	(__builtin_constant_p(x) ? __bpf_constant_##name(x) : __bpf_##name(x))

#define bpf_htons(x) ___bpf_order(x, htons)
#define bpf_ntohs(x) ___bpf_order(x, ntohs)
#define bpf_htonl(x) ___bpf_order(x, htonl)
#define bpf_ntohl(x) ___bpf_order(x, ntohl)
#define bpf_cpu_to_be64(x) ___bpf_order(x, cpu_to_be64)
#define bpf_be64_to_cpu(x) ___bpf_order(x, be64_to_cpu)

#endif /* __BPF_ENDIAN__ */
