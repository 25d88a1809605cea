"""Reads of a map's own struct (check_ptr_to_map_access, kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import EACCES

from anybpf import uapi
from anybpf.verifier import btf_walk
from anybpf.verifier.region import btf_ptr
from anybpf.verifier.region.access import Access
from anybpf.verifier.region.map_value import map_of
from anybpf.verifier.reject import ENOTSUPP

#: struct of the kernel -> the types of maps that are one
_STRUCTS = {
    "bpf_array": ("ARRAY", "PERCPU_ARRAY", "PROG_ARRAY", "PERF_EVENT_ARRAY", "CGROUP_ARRAY",
                  "ARRAY_OF_MAPS"),
    "bpf_htab": ("HASH", "LRU_HASH", "PERCPU_HASH", "LRU_PERCPU_HASH", "HASH_OF_MAPS"),
    "bpf_queue_stack": ("QUEUE", "STACK"),
    "bpf_dtab": ("DEVMAP", "DEVMAP_HASH"),
    "bpf_ringbuf_map": ("RINGBUF", "USER_RINGBUF"),
    "bpf_local_storage_map": ("SK_STORAGE", "INODE_STORAGE", "TASK_STORAGE", "CGRP_STORAGE"),
    "bpf_cgroup_storage_map": ("CGROUP_STORAGE", "PERCPU_CGROUP_STORAGE"),
    "bpf_cpu_map": ("CPUMAP",), "xsk_map": ("XSKMAP",), "bpf_stab": ("SOCKMAP",),
    "bpf_shtab": ("SOCKHASH",), "lpm_trie": ("LPM_TRIE",), "bpf_stack_map": ("STACK_TRACE",),
    "reuseport_array": ("REUSEPORT_SOCKARRAY",), "bpf_bloom_filter": ("BLOOM_FILTER",),
    "bpf_arena": ("ARENA",), "bpf_struct_ops_map": ("STRUCT_OPS",),
}
STRUCTS = {int(getattr(uapi, f"BPF_MAP_TYPE_{name}")): struct
           for struct, names in _STRUCTS.items() for name in names}


def access(what: Access) -> None:
    """A load of a member; nothing is written there."""
    env = what.env
    map_type = map_of(what.reg).type
    name = STRUCTS[map_type]
    btf = btf_ptr.kernel(env)
    type_id = btf.find(name, uapi.BTF_KIND_STRUCT)
    if not type_id:
        raise env.reject(ENOTSUPP, f"map_ptr access not supported for map type {map_type}")
    if what.off < 0:
        raise env.reject(EACCES, f"R{what.regno} is {name} invalid negative access: off={what.off}")
    if what.write:
        raise env.reject(EACCES, f"only read from {name} is supported")
    try:
        found = btf_walk.access(btf, type_id, what.off, what.size)
    except btf_walk.Misfit as misfit:
        raise env.reject(misfit.errno, misfit.text) from None
    if what.loads is not None:
        btf_ptr.load(env, what.loads, btf, found)
