"""Which fields of `union bpf_attr` point to the caller's memory, and to how much of it.

One row a pointer. The sizes are the most that the kernel may touch; where less of it is mapped
here, less is mapped in the guest, so that both answer EFAULT.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from anybpf import uapi
from anybpf.syscall.record import fields
from anybpf.uapi_structs import STRUCTS

#: how a pointer's memory is used: only read; read and written; a string that is read; text that is
#: written; a string for each of an array of pointers
IN, INOUT, STRING, LOG, STRINGS = range(5)
PATH_MAX = 4096
LICENSE_MAX = 128
#: of a file descriptor array without a length: the most that is sent
FD_ARRAY_MAX = 4096
PER_CPU = {uapi.BPF_MAP_TYPE_PERCPU_HASH, uapi.BPF_MAP_TYPE_PERCPU_ARRAY,
           uapi.BPF_MAP_TYPE_LRU_PERCPU_HASH, uapi.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE}
#: maps whose values are descriptors or ids of 4 bytes, whatever else
OF_OBJECTS = {uapi.BPF_MAP_TYPE_PROG_ARRAY, uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY,
              uapi.BPF_MAP_TYPE_CGROUP_ARRAY, uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS,
              uapi.BPF_MAP_TYPE_HASH_OF_MAPS, uapi.BPF_MAP_TYPE_XSKMAP}


class MapShape(NamedTuple):
    """What a map's keys and values are; `value_size` is that of one CPU."""

    type: int = 0
    key_size: int = 0
    value_size: int = 0

    def value_bytes(self, cpus: int) -> int:
        """The bytes of a value as bpf(2) moves it."""
        if self.type in PER_CPU:
            return cpus * ((self.value_size + 7) & ~7)
        return max(self.value_size, 4) if self.type in OF_OBJECTS else self.value_size


class Asking(Protocol):
    """What the sizes are computed from: fields by name, and the map that is meant."""

    def __getitem__(self, name: str) -> int: ...

    def map(self, field: str) -> MapShape: ...

    @property
    def cpus(self) -> int: ...


Size = Callable[[Asking], int]


@dataclass(frozen=True)
class Pointer:
    """One field that points to memory."""

    field: str
    size: Size
    use: int = IN


def _number(name: str, times: int = 1) -> Size:
    return lambda ask: ask[name] * times


def _product(count: str, size: str) -> Size:
    return lambda ask: ask[count] * ask[size]


def _fixed(size: int) -> Size:
    return lambda ask: size


def _key(ask: Asking) -> int:
    return ask.map("map_fd").key_size


def _value(ask: Asking) -> int:
    return ask.map("map_fd").value_bytes(ask.cpus)


def _batch_key(ask: Asking) -> int:
    return max(ask.map("batch.map_fd").key_size, 4)


def _batch_keys(ask: Asking) -> int:
    return ask["batch.count"] * ask.map("batch.map_fd").key_size


def _batch_values(ask: Asking) -> int:
    return ask["batch.count"] * ask.map("batch.map_fd").value_bytes(ask.cpus)


def _fd_array(ask: Asking) -> int:
    return ask["fd_array_cnt"] * 4 or FD_ARRAY_MAX


KEY = Pointer("key", _key)
BATCH_OUT = (Pointer("batch.in_batch", _batch_key), Pointer("batch.out_batch", _batch_key, INOUT),
             Pointer("batch.keys", _batch_keys, INOUT),
             Pointer("batch.values", _batch_values, INOUT))
PATH = (Pointer("pathname", _fixed(PATH_MAX), STRING),)

POINTERS: dict[int, tuple[Pointer, ...]] = {
    uapi.BPF_MAP_CREATE: (Pointer("excl_prog_hash", _number("excl_prog_hash_size")),),
    uapi.BPF_MAP_LOOKUP_ELEM: (KEY, Pointer("value", _value, INOUT)),
    uapi.BPF_MAP_LOOKUP_AND_DELETE_ELEM: (KEY, Pointer("value", _value, INOUT)),
    uapi.BPF_MAP_UPDATE_ELEM: (KEY, Pointer("value", _value)),
    uapi.BPF_MAP_DELETE_ELEM: (KEY,),
    uapi.BPF_MAP_GET_NEXT_KEY: (KEY, Pointer("next_key", _key, INOUT)),
    uapi.BPF_MAP_LOOKUP_BATCH: BATCH_OUT,
    uapi.BPF_MAP_LOOKUP_AND_DELETE_BATCH: BATCH_OUT,
    uapi.BPF_MAP_UPDATE_BATCH: (Pointer("batch.keys", _batch_keys),
                                Pointer("batch.values", _batch_values)),
    uapi.BPF_MAP_DELETE_BATCH: (Pointer("batch.keys", _batch_keys),),
    uapi.BPF_PROG_LOAD: (
        Pointer("insns", _number("insn_cnt", 8)),
        Pointer("license", _fixed(LICENSE_MAX), STRING),
        Pointer("log_buf", _number("log_size"), LOG),
        Pointer("func_info", _product("func_info_cnt", "func_info_rec_size")),
        Pointer("line_info", _product("line_info_cnt", "line_info_rec_size")),
        Pointer("core_relos", _product("core_relo_cnt", "core_relo_rec_size")),
        Pointer("fd_array", _fd_array),
        Pointer("signature", _number("signature_size"))),
    uapi.BPF_OBJ_PIN: PATH,
    uapi.BPF_OBJ_GET: PATH,
    uapi.BPF_PROG_TEST_RUN: (
        Pointer("test.data_in", _number("test.data_size_in")),
        Pointer("test.data_out", _number("test.data_size_out"), INOUT),
        Pointer("test.ctx_in", _number("test.ctx_size_in")),
        Pointer("test.ctx_out", _number("test.ctx_size_out"), INOUT)),
    uapi.BPF_PROG_QUERY: tuple(
        Pointer(f"query.{name}", _number("query.count", 4), INOUT)
        for name in ("prog_ids", "prog_attach_flags", "link_ids", "link_attach_flags")),
    uapi.BPF_RAW_TRACEPOINT_OPEN: (Pointer("raw_tracepoint.name", _fixed(128), STRING),),
    uapi.BPF_BTF_LOAD: (Pointer("btf", _number("btf_size")),
                        Pointer("btf_log_buf", _number("btf_log_size"), LOG)),
    uapi.BPF_TASK_FD_QUERY: (
        Pointer("task_fd_query.buf", _number("task_fd_query.buf_len"), INOUT),),
    uapi.BPF_PROG_STREAM_READ_BY_FD: (
        Pointer("prog_stream_read.stream_buf", _number("prog_stream_read.stream_buf_len"), INOUT),),
}

#: BPF_LINK_CREATE: by attach type
_KPROBES = (Pointer("link_create.kprobe_multi.syms", _number("link_create.kprobe_multi.cnt"),
                    STRINGS),
            Pointer("link_create.kprobe_multi.addrs", _number("link_create.kprobe_multi.cnt", 8)),
            Pointer("link_create.kprobe_multi.cookies", _number("link_create.kprobe_multi.cnt", 8)))
_UPROBES = (Pointer("link_create.uprobe_multi.path", _fixed(PATH_MAX), STRING),
            *(Pointer(f"link_create.uprobe_multi.{name}",
                      _number("link_create.uprobe_multi.cnt", 8))
              for name in ("offsets", "ref_ctr_offsets", "cookies")))
LINKS: dict[int, tuple[Pointer, ...]] = {
    uapi.BPF_TRACE_ITER: (Pointer("link_create.iter_info", _number("link_create.iter_info_len")),),
    uapi.BPF_TRACE_KPROBE_MULTI: _KPROBES,
    uapi.BPF_TRACE_KPROBE_SESSION: _KPROBES,
    uapi.BPF_TRACE_UPROBE_MULTI: _UPROBES,
    uapi.BPF_TRACE_UPROBE_SESSION: _UPROBES,
}

#: BPF_OBJ_GET_INFO_BY_FD: what /proc/self/fd calls an object, the struct that tells about it, and
#: the struct's pointers
INFO: dict[str, tuple[str, tuple[Pointer, ...]]] = {
    "bpf-prog": ("bpf_prog_info", (
        Pointer("jited_prog_insns", _number("jited_prog_len"), INOUT),
        Pointer("xlated_prog_insns", _number("xlated_prog_len"), INOUT),
        Pointer("map_ids", _number("nr_map_ids", 4), INOUT),
        Pointer("jited_ksyms", _number("nr_jited_ksyms", 8), INOUT),
        Pointer("jited_func_lens", _number("nr_jited_func_lens", 4), INOUT),
        Pointer("func_info", _product("nr_func_info", "func_info_rec_size"), INOUT),
        Pointer("line_info", _product("nr_line_info", "line_info_rec_size"), INOUT),
        Pointer("jited_line_info", _product("nr_jited_line_info", "jited_line_info_rec_size"),
                INOUT),
        Pointer("prog_tags", _number("nr_prog_tags", 8), INOUT))),
    "bpf-map": ("bpf_map_info", (Pointer("hash", _number("hash_size"), INOUT),)),
    "btf": ("bpf_btf_info", (Pointer("btf", _number("btf_size"), INOUT),
                             Pointer("name", _number("name_len"), INOUT))),
    "bpf_link": ("bpf_link_info", ()),
}

#: bpf_link_info's pointers, by the link's type (those of all perf events lie at the same place)
LINK_INFO: dict[int, tuple[Pointer, ...]] = {
    uapi.BPF_LINK_TYPE_RAW_TRACEPOINT: (
        Pointer("raw_tracepoint.tp_name", _number("raw_tracepoint.tp_name_len"), INOUT),),
    uapi.BPF_LINK_TYPE_ITER: (
        Pointer("iter.target_name", _number("iter.target_name_len"), INOUT),),
    uapi.BPF_LINK_TYPE_KPROBE_MULTI: (
        Pointer("kprobe_multi.addrs", _number("kprobe_multi.count", 8), INOUT),
        Pointer("kprobe_multi.cookies", _number("kprobe_multi.count", 8), INOUT)),
    uapi.BPF_LINK_TYPE_UPROBE_MULTI: (
        Pointer("uprobe_multi.path", _number("uprobe_multi.path_size"), INOUT),
        *(Pointer(f"uprobe_multi.{name}", _number("uprobe_multi.count", 8), INOUT)
          for name in ("offsets", "ref_ctr_offsets", "cookies"))),
    uapi.BPF_LINK_TYPE_PERF_EVENT: (
        Pointer("perf_event.tracepoint.tp_name", _number("perf_event.tracepoint.name_len"),
                INOUT),),
}

#: commands that answer with a descriptor
OPENS = {uapi.BPF_MAP_CREATE, uapi.BPF_PROG_LOAD, uapi.BPF_BTF_LOAD, uapi.BPF_OBJ_GET,
         uapi.BPF_PROG_GET_FD_BY_ID, uapi.BPF_MAP_GET_FD_BY_ID, uapi.BPF_BTF_GET_FD_BY_ID,
         uapi.BPF_LINK_GET_FD_BY_ID, uapi.BPF_LINK_CREATE, uapi.BPF_RAW_TRACEPOINT_OPEN,
         uapi.BPF_ITER_CREATE, uapi.BPF_ENABLE_STATS, uapi.BPF_TOKEN_CREATE}


def check_rows() -> None:
    """Every row names a field that there is."""
    structs = {"bpf_attr": [*POINTERS.values(), *LINKS.values()],
               "bpf_link_info": [*LINK_INFO.values()], **{s: [p] for s, p in INFO.values()}}
    for struct, lists in structs.items():
        assert struct in STRUCTS
        for rows in lists:
            assert all(row.field in fields(struct) for row in rows), struct
