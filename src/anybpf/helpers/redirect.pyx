"""Redirecting packets: the run records where to (net/core/filter.c)."""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from anybpf cimport uapi
from anybpf.core.run_ctx cimport run_ctx
from anybpf.helpers.abi cimport EAFNOSUPPORT, EBADMSG, EINVAL, ENODEV, fail
from anybpf.maps.bpf_map cimport bpf_map
from anybpf.net.filter cimport sk_buff
from anybpf.net.xdp cimport xdp_buff

cdef enum:
    FIB_PARAMS_SIZE = 64
    AF_INET = 2
    AF_INET6 = 10
    FIB_FLAGS = 0x7f
    FIB_IFINDEX = 8                 # offset of the member in struct bpf_fib_lookup
    NEIGH_PARAMS_SIZE = 20
    TC_ACT_SHOT = 2
    TC_ACT_REDIRECT = 7
    ACTIONS = 3                     # XDP_ABORTED | XDP_DROP | XDP_PASS | XDP_TX


cdef void record(run_ctx *run, uint32_t kind, uint32_t ifindex, uint64_t flags) noexcept nogil:
    run.redirect.kind = kind
    run.redirect.ifindex = ifindex
    run.redirect.flags = flags
    run.redirect.key = 0
    run.redirect.map = NULL


cdef bint is_device(run_ctx *run, uint32_t ifindex) noexcept nogil:
    """Whether an interface of this index exists."""
    cdef sk_buff *skb = <sk_buff *> run.skb
    cdef xdp_buff *xdp = <xdp_buff *> run.xdp
    cdef const uint32_t *known = skb.devices if skb != NULL else xdp.devices
    cdef uint32_t n = skb.n_devices if skb != NULL else xdp.n_devices
    cdef uint32_t i
    for i in range(n):
        if known[i] == ifindex:
            return True
    return False


cdef uint64_t redirect(uint64_t ifindex, uint64_t flags, uint64_t r3, uint64_t r4, uint64_t r5,
                       run_ctx *run) noexcept nogil:
    if run.xdp != NULL:
        if flags:
            return uapi.XDP_ABORTED
        record(run, uapi.BPF_FUNC_redirect, <uint32_t> ifindex, 0)
        return uapi.XDP_REDIRECT
    if flags & ~<uint64_t> uapi.BPF_F_INGRESS:
        return TC_ACT_SHOT
    record(run, uapi.BPF_FUNC_redirect, <uint32_t> ifindex, flags)
    return TC_ACT_REDIRECT


cdef uint64_t redirect_peer(uint64_t ifindex, uint64_t flags, uint64_t r3, uint64_t r4,
                            uint64_t r5, run_ctx *run) noexcept nogil:
    if flags:
        return TC_ACT_SHOT
    record(run, uapi.BPF_FUNC_redirect_peer, <uint32_t> ifindex, 0)
    return TC_ACT_REDIRECT


cdef uint64_t redirect_neigh(uint64_t ifindex, uint64_t params, uint64_t size, uint64_t flags,
                             uint64_t r5, run_ctx *run) noexcept nogil:
    cdef uint32_t n = <uint32_t> size
    if (n and n < NEIGH_PARAMS_SIZE) or flags:
        return TC_ACT_SHOT
    record(run, uapi.BPF_FUNC_redirect_neigh, <uint32_t> ifindex, 0)
    return TC_ACT_REDIRECT


cdef uint64_t clone_redirect(uint64_t ctx, uint64_t ifindex, uint64_t flags, uint64_t r4,
                             uint64_t r5, run_ctx *run) noexcept nogil:
    """A copy goes out on its own: the run records it, the packet goes on."""
    cdef sk_buff *skb = <sk_buff *> ctx
    if skb.gso_size and not skb.gso_type:
        return fail(EBADMSG)
    if flags & ~<uint64_t> uapi.BPF_F_INGRESS or not is_device(run, <uint32_t> ifindex):
        return fail(EINVAL)
    record(run, uapi.BPF_FUNC_clone_redirect, <uint32_t> ifindex, flags)
    return 0


cdef inline uint64_t map_flags(bpf_map *map) noexcept nogil:
    if map.map_type == uapi.BPF_MAP_TYPE_DEVMAP or map.map_type == uapi.BPF_MAP_TYPE_DEVMAP_HASH:
        return uapi.BPF_F_BROADCAST | uapi.BPF_F_EXCLUDE_INGRESS
    return 0


cdef uint64_t redirect_map(uint64_t map, uint64_t key, uint64_t flags, uint64_t r4, uint64_t r5,
                           run_ctx *run) noexcept nogil:
    """XDP_REDIRECT; where the key has no target, the action in the low bits of `flags`."""
    cdef bpf_map *m = <bpf_map *> map
    cdef uint32_t index = <uint32_t> key
    if flags & ~<uint64_t> (ACTIONS | map_flags(m)) or m.ops.lookup == NULL:
        return uapi.XDP_ABORTED
    if not flags & uapi.BPF_F_BROADCAST and m.ops.lookup(m, &index, run.cpu) == NULL:
        record(run, 0, 0, 0)
        return flags & ACTIONS
    record(run, uapi.BPF_FUNC_redirect_map, 0, flags)
    run.redirect.key = index
    run.redirect.map = <void *> m
    return uapi.XDP_REDIRECT


cdef uint64_t fib_lookup(uint64_t ctx, uint64_t params, uint64_t size, uint64_t flags,
                         uint64_t r5, run_ctx *run) noexcept nogil:
    """No interface forwards packets: a known one answers FWD_DISABLED."""
    cdef uint32_t ifindex = (<uint32_t *> (params + FIB_IFINDEX))[0]
    cdef uint32_t family = (<unsigned char *> params)[0]
    if <int64_t> <int> size < FIB_PARAMS_SIZE or <uint32_t> flags & ~FIB_FLAGS:
        return fail(EINVAL)
    if family != AF_INET and family != AF_INET6:
        return fail(EAFNOSUPPORT)
    if not is_device(run, ifindex):
        return fail(ENODEV)
    return uapi.BPF_FIB_LKUP_RET_FWD_DISABLED


def addresses():
    """The helpers of this family: name -> address of the C function."""
    return {
        "redirect": <uint64_t> redirect,
        "redirect_peer": <uint64_t> redirect_peer,
        "redirect_neigh": <uint64_t> redirect_neigh,
        "redirect_map": <uint64_t> redirect_map,
        "clone_redirect": <uint64_t> clone_redirect,
        "fib_lookup": <uint64_t> fib_lookup,
    }
