"""The maps of selftests as the comparison makes them: none takes much memory."""

from __future__ import annotations

from anybpf import uapi
from kernel.both_verifiers import Fields, put

#: no map of the comparison takes more memory than this
MAX_MAP_BYTES = 1 << 21


#: struct_ops variables that the test leaves out, as they are not what the module knows
LEFT_OUT = {"struct_ops_module": ("testmod_zeroed",), "struct_ops_autocreate": ("testmod_2",)}


def resize(attr: bytearray) -> None:
    """Fewer entries where a map would take much memory, some where the test sets how many.

    Verdicts rarely depend on them.
    """
    fields = Fields(attr)
    entries, kind = fields["max_entries"], fields["map_type"]
    each = 1 if kind in _RINGS else max(8, fields["key_size"] + fields["value_size"])
    if not fields["value_size"] and kind in _VALUES:
        put(attr, value_size=_VALUES[kind])
    if not entries and kind not in _WITHOUT_ENTRIES:
        put(attr, max_entries=4096 if kind in _RINGS else 4)
    if kind != uapi.BPF_MAP_TYPE_ARENA and entries > 1 and entries * each > MAX_MAP_BYTES:
        put(attr, max_entries=1 << 16 if kind in _RINGS else max(2, MAX_MAP_BYTES // each))


#: bytes of a value where the test or tool says how many
_VALUES = {uapi.BPF_MAP_TYPE_STACK_TRACE: 8 * 127} | dict.fromkeys(
    (uapi.BPF_MAP_TYPE_HASH, uapi.BPF_MAP_TYPE_ARRAY, uapi.BPF_MAP_TYPE_PERCPU_ARRAY,
     uapi.BPF_MAP_TYPE_BLOOM_FILTER, uapi.BPF_MAP_TYPE_LPM_TRIE), 8)
_RINGS = frozenset({uapi.BPF_MAP_TYPE_RINGBUF, uapi.BPF_MAP_TYPE_USER_RINGBUF})
_WITHOUT_ENTRIES = frozenset({
    uapi.BPF_MAP_TYPE_SK_STORAGE, uapi.BPF_MAP_TYPE_INODE_STORAGE, uapi.BPF_MAP_TYPE_TASK_STORAGE,
    uapi.BPF_MAP_TYPE_CGRP_STORAGE, uapi.BPF_MAP_TYPE_CGROUP_STORAGE,
    uapi.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE})
