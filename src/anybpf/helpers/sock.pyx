"""Helpers on sockets (net/core/filter.c).

A Machine has no sockets but the one that each packet of a test run belongs to: lookups find none,
and there is nothing that a release would have to give back.
"""
from libc.stdint cimport uint64_t

from anybpf.core.run_ctx cimport run_ctx


cdef uint64_t sk_lookup_tcp(uint64_t ctx, uint64_t tuple, uint64_t size, uint64_t netns,
                            uint64_t flags, run_ctx *run) noexcept nogil:
    return 0


cdef uint64_t sk_release(uint64_t sk, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                         run_ctx *run) noexcept nogil:
    return 0


cdef uint64_t sk_fullsock(uint64_t sk, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                          run_ctx *run) noexcept nogil:
    """Packets' sockets are full ones."""
    return sk


cdef uint64_t get_listener_sock(uint64_t sk, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                                run_ctx *run) noexcept nogil:
    """No socket listens."""
    return 0


def addresses():
    """The helpers of this family: name -> address of the C function."""
    return {
        "sk_lookup_tcp": <uint64_t> sk_lookup_tcp,
        "sk_lookup_udp": <uint64_t> sk_lookup_tcp,
        "skc_lookup_tcp": <uint64_t> sk_lookup_tcp,
        "sk_release": <uint64_t> sk_release,
        "sk_fullsock": <uint64_t> sk_fullsock,
        "get_listener_sock": <uint64_t> get_listener_sock,
    }
