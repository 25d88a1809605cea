"""Global functions whose argument is the context, on kernels that cannot read the tag (libbpf.c).

`__arg_ctx` is a declaration tag `arg:ctx` on a parameter. Kernels before 6.8 know a context only by
the name of its type, so a function with such a parameter gets a copy in BTF whose parameter has
that type; the program's func_info then names the copy. The other `__arg_*` tags mean nothing to
those kernels and stay as they are.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.libbpf.btf_fixup import ids_of_kind
from anybpf.libbpf.spec import Info, InfoTable, ProgramSpec

NATIVE_SINCE = (6, 8, 0)
TAG = "arg:ctx"
SK_BUFF = "__sk_buff"

#: what the context is called, for the program types where it has a name
CONTEXT_NAMES = {
    uapi.BPF_PROG_TYPE_CGROUP_DEVICE: "bpf_cgroup_dev_ctx",
    uapi.BPF_PROG_TYPE_CGROUP_SKB: SK_BUFF,
    uapi.BPF_PROG_TYPE_CGROUP_SOCK: "bpf_sock",
    uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR: "bpf_sock_addr",
    uapi.BPF_PROG_TYPE_CGROUP_SOCKOPT: "bpf_sockopt",
    uapi.BPF_PROG_TYPE_CGROUP_SYSCTL: "bpf_sysctl",
    uapi.BPF_PROG_TYPE_FLOW_DISSECTOR: SK_BUFF,
    uapi.BPF_PROG_TYPE_KPROBE: "bpf_user_pt_regs_t",
    uapi.BPF_PROG_TYPE_LWT_IN: SK_BUFF,
    uapi.BPF_PROG_TYPE_LWT_OUT: SK_BUFF,
    uapi.BPF_PROG_TYPE_LWT_SEG6LOCAL: SK_BUFF,
    uapi.BPF_PROG_TYPE_LWT_XMIT: SK_BUFF,
    uapi.BPF_PROG_TYPE_NETFILTER: "bpf_nf_ctx",
    uapi.BPF_PROG_TYPE_PERF_EVENT: "bpf_perf_event_data",
    uapi.BPF_PROG_TYPE_RAW_TRACEPOINT: "bpf_raw_tracepoint_args",
    uapi.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE: "bpf_raw_tracepoint_args",
    uapi.BPF_PROG_TYPE_SCHED_ACT: SK_BUFF,
    uapi.BPF_PROG_TYPE_SCHED_CLS: SK_BUFF,
    uapi.BPF_PROG_TYPE_SK_LOOKUP: "bpf_sk_lookup",
    uapi.BPF_PROG_TYPE_SK_MSG: "sk_msg_md",
    uapi.BPF_PROG_TYPE_SK_REUSEPORT: "sk_reuseport_md",
    uapi.BPF_PROG_TYPE_SK_SKB: SK_BUFF,
    uapi.BPF_PROG_TYPE_SOCK_OPS: "bpf_sock_ops",
    uapi.BPF_PROG_TYPE_SOCKET_FILTER: SK_BUFF,
    uapi.BPF_PROG_TYPE_XDP: "xdp_md",
}


def fix_up(btf: Btf, programs: Iterable[ProgramSpec]) -> tuple[Btf, dict[str, InfoTable]]:
    """The BTF with copies of tagged functions, and the func_info of the programs that use them."""
    tags = tagged_params(btf)
    if not tags:
        return btf, {}
    builder = BtfBuilder.extend(btf)
    infos: dict[str, InfoTable] = {}
    for program in programs:
        name = CONTEXT_NAMES.get(program.type)
        if name is not None:
            table = program.linked.func_info
            rows = tuple(_row(btf, builder, tags, row, name) for row in table.rows)
            if rows != table.rows:
                infos[program.name] = InfoTable(table.record_size, rows)
    return builder.build(), infos


def tagged_params(btf: Btf) -> dict[int, set[int]]:
    """FUNC id -> the numbers of its parameters that are tagged as context."""
    found: dict[int, set[int]] = {}
    for type_id in ids_of_kind(btf, uapi.BTF_KIND_DECL_TAG):
        tag = btf.expect(type_id, t.DeclTag)
        if tag.name == TAG and tag.component >= 0 and btf.kind(tag.type) == uapi.BTF_KIND_FUNC:
            found.setdefault(tag.type, set()).add(tag.component)
    return found


def _row(btf: Btf, builder: BtfBuilder, tags: dict[int, set[int]], row: Info,
         context: str) -> Info:
    """The record of one function, which may be about a copy of it."""
    func_id = int.from_bytes(row.rest[:4], sys.byteorder)
    if func_id not in tags:
        return row
    func = btf.expect(func_id, t.Func)
    params = btf.expect(func.type, t.FuncProto).params
    wrong = {i for i in tags[func_id] if i < len(params) and _needs(btf, params[i].type, context)}
    if func.linkage != uapi.BTF_FUNC_GLOBAL or not wrong:
        return row
    copy = _copy(btf, builder, func_id, wrong, context)
    return row._replace(rest=struct.pack("=I", copy) + row.rest[4:])


def _needs(btf: Btf, type_id: int, context: str) -> bool:
    """The parameter is a pointer, but not one that the kernel takes for the context."""
    pointer = btf.type(btf.resolve(type_id))
    if not isinstance(pointer, t.Ptr):
        return False
    target = pointer.type
    names = {btf.type(btf.resolve(target)).name, btf.type(btf.skip_modifiers(target)).name}
    return context not in names


def _copy(btf: Btf, builder: BtfBuilder, func_id: int, wrong: set[int], context: str) -> int:
    """The id of the same function with parameters of the context's type; its tags come along."""
    func = btf.expect(func_id, t.Func)
    proto = btf.expect(func.type, t.FuncProto)
    pointer = builder.add(t.Ptr(builder.add(t.Struct(context, 0, ()))))
    params = tuple(p._replace(type=pointer) if i in wrong else p
                   for i, p in enumerate(proto.params))
    copy = builder.add(t.Func(func.name, builder.add(t.FuncProto(proto.type, params)),
                              func.linkage))
    for type_id in ids_of_kind(btf, uapi.BTF_KIND_DECL_TAG):
        tag = btf.expect(type_id, t.DeclTag)
        if tag.type == func_id:
            builder.add(t.DeclTag(tag.name, copy, tag.component))
    return copy
