"""Map types: what MAP_CREATE accepts for each (the map_alloc_check() of kernel/bpf/*map.c).

`BY_TYPE[type].check(...)` answers as the kernel does: 0 or an errno. Which helpers take which map
is in `TAKES` and `TAKEN_BY` (check_map_func_compatibility() of the verifier).
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from anybpf import uapi
from anybpf.errors import ENOTSUPP

U16_MAX = 0xFFFF
U32_MAX = 0xFFFFFFFF
U64_MAX = 0xFFFFFFFFFFFFFFFF
PAGE_SIZE = 4096
NR_CPUS = 256
# the largest piece that kmalloc gives, and the largest per-CPU piece
KMALLOC_MAX = 1 << 22
PERCPU_MAX = 1 << 15
INT_MAX = 0x7FFFFFFF


class Size(NamedTuple):
    """Which numbers a size may be: one of `only`, or least ... most in steps."""

    least: int = 1
    most: int = U32_MAX
    step: int = 1
    only: tuple[int, ...] = ()
    power_of_two: bool = False
    too_big: int = errno.EINVAL
    """The error number above `most`."""

    def check(self, value: int) -> int:
        """0, or the error number that MAP_CREATE gives for `value`."""
        if self.only:
            return 0 if value in self.only else errno.EINVAL
        if value > self.most:
            return self.too_big
        wrong = value < self.least or value % self.step or (
            self.power_of_two and value & (value - 1))
        return errno.EINVAL if wrong else 0


class Map(NamedTuple):
    """A map type."""

    type: int
    name: str
    """As bpftool prints it, such as `"lru_hash"`."""
    since: str
    """The first kernel version that has it."""
    key: Size
    value: Size
    entries: Size = Size()
    flags: int = 0
    """The `map_flags` bits that are allowed."""
    required: int = 0
    """The `map_flags` bits that must be set."""
    percpu: bool = False
    """Holds one value per CPU, each rounded up to 8 bytes towards user space."""
    holds: str = ""
    """What a value's file descriptor must be: `"prog"`, `"map"`, `"perf_event"`, `"cgroup"`, ..."""
    btf: str = "optional"
    """Key and value BTF types: `"optional"`, `"required"` or `"refused"` (ENOTSUPP)."""
    keyless: bool = False
    """BTF may leave the key out: the type looks at BTF itself."""
    specials: frozenset[str] = frozenset()
    """Special members that values may have: `"bpf_spin_lock"`, `"kptr"`, ..."""
    unsupported: int = 0
    """The `map_flags` bits that are answered with ENOTSUPP."""
    excludes: tuple[int, ...] = ()
    """Further combinations of `map_flags` that are refused, such as per-CPU values on a node."""
    total: int = 0
    """The most that key and value may be together (E2BIG above); 0: no such limit."""
    extra_max: int = 0
    """The largest `map_extra`; it must be 0 where it has no meaning."""
    extra_step: int = 1
    value_first: bool = False
    """A value that is too big is refused before anything else is looked at."""
    adds: int = 0
    """The `map_flags` bits that the kernel sets itself: a lookup gives what it keeps for itself."""

    def check(self, key_size: int, value_size: int, max_entries: int, flags: int = 0,
              map_extra: int = 0) -> int:
        """0, or the error number that MAP_CREATE gives for these attributes."""
        if self.value_first and value_size > self.value.most:
            return self.value.too_big
        if number := self._check_flags(flags):
            return number
        if map_extra > self.extra_max or map_extra % self.extra_step:
            return errno.EINVAL
        value = BUILD_IDS if flags & uapi.BPF_F_STACK_BUILD_ID else self.value
        found = {self.key.check(key_size), value.check(value_size), self.entries.check(max_entries)}
        if errno.EINVAL in found:
            return errno.EINVAL
        too_big = 0 < self.total < key_size + value_size
        return errno.E2BIG if too_big else max(found)

    def _check_flags(self, flags: int) -> int:
        """EINVAL unless `flags` are known, complete and go together; ENOTSUPP as the row says."""
        known = self.flags | self.unsupported
        if flags & ~known or flags & self.required != self.required or _any(CONFLICTS, flags):
            return errno.EINVAL
        if flags & self.unsupported:
            return ENOTSUPP
        return errno.EINVAL if _any(self.excludes, flags) else 0


def _any(combinations: tuple[int, ...], flags: int) -> bool:
    """Whether all bits of one of the combinations are set."""
    return any(flags & both == both for both in combinations)


CONFLICTS = (uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY,
             uapi.BPF_F_RDONLY_PROG | uapi.BPF_F_WRONLY_PROG)

_ACCESS_USER = uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY
_ACCESS = _ACCESS_USER | uapi.BPF_F_RDONLY_PROG | uapi.BPF_F_WRONLY_PROG
_NUMA = uapi.BPF_F_NUMA_NODE
_HASH = uapi.BPF_F_NO_PREALLOC | uapi.BPF_F_ZERO_SEED | _ACCESS
_LRU = uapi.BPF_F_NO_COMMON_LRU | uapi.BPF_F_ZERO_SEED | _ACCESS
_STORAGE = uapi.BPF_F_NO_PREALLOC | uapi.BPF_F_CLONE

_U32 = Size(only=(4,))
_U32_OR_U64 = Size(only=(4, 8))
_ANY = Size()
_NONE = Size(only=(0,))
_CGROUP_KEY = Size(only=(8, 16))
_HASHED = Size(too_big=errno.E2BIG)
# a key and its value lie behind a struct htab_elem of 48 bytes in one piece of memory
_ELEMENT = KMALLOC_MAX - 48 - 1
# special members of values
_LOCKS = frozenset(("bpf_spin_lock", "bpf_res_spin_lock"))
_WORK = frozenset(("bpf_timer", "bpf_wq", "bpf_task_work"))
_KPTRS = frozenset(("kptr", "kptr_untrusted", "percpu_kptr", "bpf_refcount"))
_ROOTS = frozenset(("bpf_list_head", "bpf_rb_root"))
_LOCAL = _LOCKS | _KPTRS
_PERCPU = Size(1, PERCPU_MAX, too_big=errno.E2BIG)
# a stack_trace map of build ids holds struct bpf_stack_build_id, 32 bytes each
BUILD_IDS = Size(32, 127 * 32, step=32)
_PAGES = Size(PAGE_SIZE, step=PAGE_SIZE, power_of_two=True)
# struct bpf_local_storage_elem takes the rest of 64 KiB
_STORED = Size(1, U16_MAX - 128, too_big=errno.E2BIG)


def _row(name: str, since: str, key: Size, value: Size, flags: int, entries: Size = _ANY, *,
         required: int = 0, percpu: bool = False, holds: str = "", btf: str = "optional",
         keyless: bool = False, specials: frozenset[str] = frozenset(), unsupported: int = 0,
         excludes: tuple[int, ...] = (), total: int = 0, extra_max: int = 0, extra_step: int = 1,
         value_first: bool = False, adds: int = 0) -> Map:
    """The row of map type `name`; the number follows from the name."""
    number: int = getattr(uapi, f"BPF_MAP_TYPE_{name.upper()}")
    return Map(number, name, since, key, value, entries, flags, required, percpu, holds, btf,
               keyless, specials, unsupported, excludes, total, extra_max, extra_step,
               value_first, adds)


MAPS: tuple[Map, ...] = (
    _row("hash", "3.19", _HASHED, _HASHED, _HASH | _NUMA,
         specials=_LOCKS | _WORK | _KPTRS | _ROOTS, total=_ELEMENT),
    _row("array", "3.19", _U32, Size(1, INT_MAX, too_big=errno.E2BIG),
         _NUMA | _ACCESS | uapi.BPF_F_MMAPABLE | uapi.BPF_F_INNER_MAP,
         keyless=True, specials=_LOCKS | _WORK | _KPTRS | _ROOTS),
    _row("prog_array", "4.2", _U32, _U32, _NUMA | _ACCESS_USER, holds="prog"),
    _row("perf_event_array", "4.3", _U32, _U32,
         _NUMA | _ACCESS_USER | uapi.BPF_F_PRESERVE_ELEMS, holds="perf_event", btf="refused"),
    _row("percpu_hash", "4.6", _HASHED, _PERCPU, _HASH, percpu=True, specials=_KPTRS,
         total=_ELEMENT),
    _row("percpu_array", "4.6", _U32, _PERCPU, _ACCESS, percpu=True, keyless=True,
         specials=_KPTRS),
    _row("stack_trace", "4.6", _U32, Size(8, 127 * 8, step=8),
         _NUMA | _ACCESS_USER | uapi.BPF_F_STACK_BUILD_ID, btf="refused"),
    _row("cgroup_array", "4.8", _U32, _U32, _NUMA | _ACCESS_USER, holds="cgroup", btf="refused"),
    _row("lru_hash", "4.10", _HASHED, _HASHED, _LRU | _NUMA,
         unsupported=uapi.BPF_F_NO_PREALLOC, excludes=(uapi.BPF_F_NO_COMMON_LRU | _NUMA,),
         specials=_WORK | _KPTRS | _ROOTS, total=_ELEMENT),
    _row("lru_percpu_hash", "4.10", _HASHED, _PERCPU, _LRU | _NUMA, percpu=True,
         unsupported=uapi.BPF_F_NO_PREALLOC, excludes=(_NUMA,), specials=_KPTRS,
         total=_ELEMENT),
    _row("lpm_trie", "4.11", Size(5, 260), Size(1, 4194024),
         uapi.BPF_F_NO_PREALLOC | _NUMA | _ACCESS, required=uapi.BPF_F_NO_PREALLOC, keyless=True),
    _row("array_of_maps", "4.12", _U32, _U32, _NUMA | _ACCESS_USER, holds="map", btf="refused"),
    _row("hash_of_maps", "4.12", _HASHED, _U32, _HASH | _NUMA, holds="map",
         btf="refused", total=_ELEMENT),
    _row("devmap", "4.14", _U32, _U32_OR_U64, _NUMA | _ACCESS_USER, holds="ifindex",
         btf="refused", adds=uapi.BPF_F_RDONLY_PROG),
    _row("sockmap", "4.14", _U32, _U32_OR_U64, _NUMA | _ACCESS_USER, holds="socket",
         btf="refused"),
    # as many entries as the kernel was built for CPUs (CONFIG_NR_CPUS)
    _row("cpumap", "4.15", _U32, _U32_OR_U64, _NUMA, Size(1, NR_CPUS, too_big=errno.E2BIG),
         holds="cpu", btf="refused"),
    _row("xskmap", "4.18", _U32, _U32, _NUMA | _ACCESS_USER, holds="socket", btf="refused"),
    _row("sockhash", "4.18", Size(1, 512, too_big=errno.E2BIG), _U32_OR_U64,
         _NUMA | _ACCESS_USER, holds="socket", btf="refused"),
    _row("cgroup_storage", "4.19", _CGROUP_KEY, Size(1, U16_MAX - 128, too_big=errno.E2BIG),
         _NUMA | _ACCESS, _NONE, keyless=True, specials=_LOCKS),
    _row("reuseport_sockarray", "4.19", _U32, _U32_OR_U64, _NUMA | _ACCESS, holds="socket"),
    _row("percpu_cgroup_storage", "4.20", _CGROUP_KEY, _PERCPU, _NUMA | _ACCESS, _NONE,
         percpu=True, keyless=True),
    _row("queue", "4.20", _NONE, Size(1, KMALLOC_MAX, too_big=errno.E2BIG), _NUMA | _ACCESS),
    _row("stack", "4.20", _NONE, Size(1, KMALLOC_MAX, too_big=errno.E2BIG), _NUMA | _ACCESS),
    _row("sk_storage", "5.2", _U32, _STORED, _STORAGE, _NONE, required=uapi.BPF_F_NO_PREALLOC,
         btf="required", specials=_LOCAL),
    _row("devmap_hash", "5.4", _U32, _U32_OR_U64, _NUMA | _ACCESS_USER, holds="ifindex",
         btf="refused", adds=uapi.BPF_F_RDONLY_PROG),
    _row("struct_ops", "5.6", _U32, Size(), uapi.BPF_F_LINK | uapi.BPF_F_VTYPE_BTF_OBJ_FD,
         Size(only=(1,)), btf="required"),
    _row("ringbuf", "5.8", _NONE, _NONE, _NUMA, _PAGES),
    _row("inode_storage", "5.10", _U32, _STORED, _STORAGE, _NONE,
         required=uapi.BPF_F_NO_PREALLOC, btf="required", specials=_LOCAL),
    _row("task_storage", "5.11", _U32, _STORED, _STORAGE, _NONE,
         required=uapi.BPF_F_NO_PREALLOC, btf="required", specials=_LOCAL | {"uptr"}),
    _row("bloom_filter", "5.16", _NONE, Size(1, KMALLOC_MAX, too_big=errno.E2BIG),
         _NUMA | uapi.BPF_F_ZERO_SEED | _ACCESS, keyless=True, extra_max=15, value_first=True),
    _row("user_ringbuf", "6.1", _NONE, _NONE, _NUMA, _PAGES),
    _row("cgrp_storage", "6.2", _U32, _STORED, _STORAGE, _NONE, required=uapi.BPF_F_NO_PREALLOC,
         btf="required", specials=_LOCAL),
    _row("arena", "6.9", _NONE, _NONE,
         uapi.BPF_F_MMAPABLE | uapi.BPF_F_SEGV_ON_FAULT | uapi.BPF_F_NO_USER_CONV,
         Size(1, 1 << 20, too_big=errno.E2BIG), required=uapi.BPF_F_MMAPABLE,
         keyless=True, extra_max=U64_MAX, extra_step=PAGE_SIZE),
)

BY_TYPE: dict[int, Map] = {m.type: m for m in MAPS}
BY_NAME: dict[str, Map] = {m.name: m for m in MAPS}

# map type: the only helpers that take it; a type that is absent goes with every general helper
TAKEN_BY: dict[int, frozenset[str]] = {getattr(uapi, f"BPF_MAP_TYPE_{name}"): frozenset(by.split())
                                       for names, by in (
    ("PROG_ARRAY", "tail_call"),
    ("PERF_EVENT_ARRAY",
     "perf_event_read perf_event_read_value perf_event_output skb_output xdp_output"),
    ("RINGBUF", "ringbuf_output ringbuf_reserve ringbuf_query ringbuf_reserve_dynptr"
                " ringbuf_submit_dynptr ringbuf_discard_dynptr"),
    ("USER_RINGBUF", "user_ringbuf_drain"),
    ("STACK_TRACE", "get_stackid"),
    ("CGROUP_ARRAY", "skb_under_cgroup current_task_under_cgroup"),
    ("CGROUP_STORAGE PERCPU_CGROUP_STORAGE", "get_local_storage"),
    ("DEVMAP DEVMAP_HASH XSKMAP", "redirect_map map_lookup_elem"),
    ("CPUMAP", "redirect_map"),
    ("ARRAY_OF_MAPS HASH_OF_MAPS", "map_lookup_elem"),
    ("SOCKMAP", "sk_redirect_map sock_map_update map_delete_elem msg_redirect_map"
                " sk_select_reuseport map_lookup_elem map_update_elem"),
    ("SOCKHASH", "sk_redirect_hash sock_hash_update map_delete_elem msg_redirect_hash"
                 " sk_select_reuseport map_lookup_elem map_update_elem"),
    ("REUSEPORT_SOCKARRAY", "sk_select_reuseport"),
    ("QUEUE STACK", "map_peek_elem map_pop_elem map_push_elem"),
    ("SK_STORAGE", "sk_storage_get sk_storage_delete kptr_xchg"),
    ("INODE_STORAGE", "inode_storage_get inode_storage_delete kptr_xchg"),
    ("TASK_STORAGE", "task_storage_get task_storage_delete kptr_xchg"),
    ("CGRP_STORAGE", "cgrp_storage_get cgrp_storage_delete kptr_xchg"),
    ("BLOOM_FILTER", "map_peek_elem map_push_elem"),
) for name in names.split()}

SOCKET_MAPS = frozenset((uapi.BPF_MAP_TYPE_SOCKMAP, uapi.BPF_MAP_TYPE_SOCKHASH))
# elements of such maps may be updated and deleted only in these program types
SOCKMAP_UPDATERS = frozenset((
    uapi.BPF_PROG_TYPE_SOCKET_FILTER, uapi.BPF_PROG_TYPE_SCHED_CLS,
    uapi.BPF_PROG_TYPE_SCHED_ACT, uapi.BPF_PROG_TYPE_XDP,
    uapi.BPF_PROG_TYPE_SK_REUSEPORT, uapi.BPF_PROG_TYPE_FLOW_DISSECTOR,
    uapi.BPF_PROG_TYPE_SK_LOOKUP))

# helper: the only map types that it takes; a helper that is absent takes the general ones
TAKES: dict[str, frozenset[int]] = {
    name: frozenset(getattr(uapi, f"BPF_MAP_TYPE_{m}") for m in types.split())
    for names, types in (
        ("tail_call", "PROG_ARRAY"),
        ("perf_event_read perf_event_read_value perf_event_output skb_output xdp_output",
         "PERF_EVENT_ARRAY"),
        ("ringbuf_output ringbuf_reserve ringbuf_query ringbuf_reserve_dynptr"
         " ringbuf_submit_dynptr ringbuf_discard_dynptr", "RINGBUF"),
        ("user_ringbuf_drain", "USER_RINGBUF"),
        ("get_stackid", "STACK_TRACE"),
        ("current_task_under_cgroup skb_under_cgroup", "CGROUP_ARRAY"),
        ("redirect_map", "DEVMAP DEVMAP_HASH CPUMAP XSKMAP"),
        ("sk_redirect_map msg_redirect_map sock_map_update", "SOCKMAP"),
        ("sk_redirect_hash msg_redirect_hash sock_hash_update", "SOCKHASH"),
        ("get_local_storage", "CGROUP_STORAGE PERCPU_CGROUP_STORAGE"),
        ("sk_select_reuseport", "REUSEPORT_SOCKARRAY SOCKMAP SOCKHASH"),
        ("map_pop_elem", "QUEUE STACK"),
        ("map_peek_elem map_push_elem", "QUEUE STACK BLOOM_FILTER"),
        ("map_lookup_percpu_elem", "PERCPU_ARRAY PERCPU_HASH LRU_PERCPU_HASH"),
        ("sk_storage_get sk_storage_delete", "SK_STORAGE"),
        ("inode_storage_get inode_storage_delete", "INODE_STORAGE"),
        ("task_storage_get task_storage_delete", "TASK_STORAGE"),
        ("cgrp_storage_get cgrp_storage_delete", "CGRP_STORAGE"),
    ) for name in names.split()}


def compatible(map_type: int, helper: str, prog_type: int = 0,
               attach_type: int = uapi.BPF_TRACE_ITER) -> bool:
    """True if `helper` takes a map of `map_type` in programs of `prog_type`."""
    taken = TAKEN_BY.get(map_type)
    if taken is not None and helper not in taken:
        return False
    if map_type not in TAKES.get(helper, (map_type,)):
        return False
    return may_update_sockets(map_type, helper, prog_type, attach_type)


def may_update_sockets(map_type: int, helper: str, prog_type: int,
                       attach_type: int = uapi.BPF_TRACE_ITER) -> bool:
    """False for a helper that updates a map of sockets where the program cannot lock them."""
    if map_type not in SOCKET_MAPS or helper not in ("map_update_elem", "map_delete_elem"):
        return True
    if prog_type == uapi.BPF_PROG_TYPE_SOCK_OPS:
        return helper == "map_delete_elem"
    iterates = prog_type == uapi.BPF_PROG_TYPE_TRACING and attach_type == uapi.BPF_TRACE_ITER
    return iterates or prog_type in SOCKMAP_UPDATERS
