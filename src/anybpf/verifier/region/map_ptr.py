"""Reads of a map's own struct (check_ptr_to_map_access, kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import EACCES

from anybpf import uapi
from anybpf.errors import NotSupported
from anybpf.verifier.region.access import Access
from anybpf.verifier.region.map_value import map_of

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
    name = STRUCTS[map_of(what.reg).type]
    if what.off < 0:
        raise env.reject(EACCES, f"R{what.regno} is {name} invalid negative access: off={what.off}")
    if what.write:
        raise env.reject(EACCES, f"only read from {name} is supported")
    raise NotSupported("loads through map_ptr in the verifier")
