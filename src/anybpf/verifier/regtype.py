"""What a register may hold, and how the log names it (reg_type_str, kernel/bpf/log.c).

The kinds are those of `proto.kinds`; this module adds the questions that the verifier asks of them.
"""

from __future__ import annotations

from functools import cache

from anybpf.proto import kinds
from anybpf.proto.kinds import KIND_MASK, PTR_MAYBE_NULL

NAMES = {
    kinds.NOT_INIT: "?",
    kinds.SCALAR_VALUE: "scalar",
    kinds.PTR_TO_CTX: "ctx",
    kinds.CONST_PTR_TO_MAP: "map_ptr",
    kinds.PTR_TO_MAP_VALUE: "map_value",
    kinds.PTR_TO_STACK: "fp",
    kinds.PTR_TO_PACKET: "pkt",
    kinds.PTR_TO_PACKET_META: "pkt_meta",
    kinds.PTR_TO_PACKET_END: "pkt_end",
    kinds.PTR_TO_FLOW_KEYS: "flow_keys",
    kinds.PTR_TO_SOCKET: "sock",
    kinds.PTR_TO_SOCK_COMMON: "sock_common",
    kinds.PTR_TO_TCP_SOCK: "tcp_sock",
    kinds.PTR_TO_TP_BUFFER: "tp_buffer",
    kinds.PTR_TO_XDP_SOCK: "xdp_sock",
    kinds.PTR_TO_BTF_ID: "ptr_",
    kinds.PTR_TO_MEM: "mem",
    kinds.PTR_TO_ARENA: "arena",
    kinds.PTR_TO_BUF: "buf",
    kinds.PTR_TO_FUNC: "func",
    kinds.PTR_TO_MAP_KEY: "map_key",
    kinds.CONST_PTR_TO_DYNPTR: "dynptr_ptr",
}
PREFIXES = (
    (kinds.MEM_RDONLY, "rdonly_"), (kinds.MEM_RINGBUF, "ringbuf_"), (kinds.MEM_USER, "user_"),
    (kinds.MEM_PERCPU, "percpu_"), (kinds.MEM_RCU, "rcu_"), (kinds.PTR_UNTRUSTED, "untrusted_"),
    (kinds.PTR_TRUSTED, "trusted_"),
)
PACKETS = frozenset({kinds.PTR_TO_PACKET, kinds.PTR_TO_PACKET_META})
SOCKETS = frozenset({kinds.PTR_TO_SOCKET, kinds.PTR_TO_SOCK_COMMON, kinds.PTR_TO_TCP_SOCK,
                     kinds.PTR_TO_XDP_SOCK})
#: kinds that stand for a pointer to a struct of the kernel (reg2btf_ids)
TYPED_BY_KIND = {
    kinds.PTR_TO_SOCKET: "sock", kinds.PTR_TO_SOCK_COMMON: "sock_common",
    kinds.PTR_TO_TCP_SOCK: "tcp_sock", kinds.CONST_PTR_TO_MAP: "bpf_map",
}
#: kinds that a spill to the stack keeps (is_spillable_regtype)
SPILLABLE = frozenset({
    kinds.PTR_TO_MAP_VALUE, kinds.PTR_TO_STACK, kinds.PTR_TO_CTX, kinds.PTR_TO_PACKET,
    kinds.PTR_TO_PACKET_META, kinds.PTR_TO_PACKET_END, kinds.PTR_TO_FLOW_KEYS,
    kinds.CONST_PTR_TO_MAP, kinds.PTR_TO_SOCKET, kinds.PTR_TO_SOCK_COMMON, kinds.PTR_TO_TCP_SOCK,
    kinds.PTR_TO_XDP_SOCK, kinds.PTR_TO_BTF_ID, kinds.PTR_TO_BUF, kinds.PTR_TO_MEM,
    kinds.PTR_TO_FUNC, kinds.PTR_TO_MAP_KEY, kinds.PTR_TO_ARENA,
})
#: kinds whose log text has the map's sizes
MAP_POINTERS = frozenset({kinds.CONST_PTR_TO_MAP, kinds.PTR_TO_MAP_KEY, kinds.PTR_TO_MAP_VALUE})
#: pointers that are not 0 unless their kind says so
NEVER_NULL = frozenset({
    kinds.PTR_TO_MAP_VALUE, kinds.PTR_TO_MAP_KEY, kinds.PTR_TO_SOCKET, kinds.PTR_TO_TCP_SOCK,
    kinds.PTR_TO_SOCK_COMMON, kinds.CONST_PTR_TO_MAP,
})
#: flags of pointers to objects that surely exist
TRUSTED = kinds.MEM_ALLOC | kinds.PTR_TRUSTED | kinds.NON_OWN_REF


@cache
def text(kind: int) -> str:
    """The log's name of a register's kind, flags before and after."""
    prefix = "".join(word for flag, word in PREFIXES if kind & flag)
    base = kind & KIND_MASK
    null = ""
    if kind & PTR_MAYBE_NULL:
        null = "or_null_" if base == kinds.PTR_TO_BTF_ID else "_or_null"
    return prefix + NAMES[base] + null


def is_packet(kind: int) -> bool:
    """A pointer into the packet or its metadata (not its end)."""
    return kind == kinds.PTR_TO_PACKET or kind == kinds.PTR_TO_PACKET_META


def is_any_packet(kind: int) -> bool:
    """The same, or the packet's end."""
    return (kind == kinds.PTR_TO_PACKET or kind == kinds.PTR_TO_PACKET_META
            or kind == kinds.PTR_TO_PACKET_END)


def may_be_null(kind: int) -> bool:
    """The pointer has yet to be compared with 0."""
    return kind & kinds.PTR_MAYBE_NULL != 0


def not_null(kind: int, referenced: bool) -> bool:
    """A pointer that is known not to be 0 (reg_not_null)."""
    if kind & PTR_MAYBE_NULL:
        return False
    base = kind & KIND_MASK
    if base == kinds.PTR_TO_BTF_ID:
        return is_trusted(kind, referenced)
    if base == kinds.PTR_TO_MEM:
        return not kind & kinds.PTR_UNTRUSTED
    return base in NEVER_NULL


def is_trusted(kind: int, referenced: bool) -> bool:
    """The object surely exists as long as the pointer does (is_trusted_reg)."""
    if referenced:
        return True
    unsafe = kind & ~KIND_MASK & ~TRUSTED
    if kind & KIND_MASK in TYPED_BY_KIND and not unsafe:
        return True
    return bool(kind & TRUSTED) and not unsafe
