"""Which rules an access has, by what the pointer points to (check_mem_access, verifier.c)."""

from __future__ import annotations

from collections.abc import Callable

from anybpf.proto import kinds
from anybpf.verifier.region import (
    btf_ptr,
    buffer,
    ctx,
    map_ptr,
    map_value,
    memory,
    packet,
    sock,
    stack,
)
from anybpf.verifier.region.access import Access

REGIONS: dict[int, Callable[[Access], None]] = {
    kinds.PTR_TO_MAP_KEY: map_value.access_key,
    kinds.PTR_TO_MAP_VALUE: map_value.access,
    kinds.PTR_TO_MEM: memory.access,
    kinds.PTR_TO_BTF_ID: btf_ptr.access,
    kinds.PTR_TO_CTX: ctx.access,
    kinds.PTR_TO_STACK: stack.access,
    kinds.PTR_TO_PACKET: packet.access,
    kinds.PTR_TO_PACKET_META: packet.access,
    kinds.PTR_TO_FLOW_KEYS: sock.access_flow_keys,
    kinds.PTR_TO_TP_BUFFER: buffer.access,
    kinds.PTR_TO_BUF: buffer.access,
    kinds.PTR_TO_SOCKET: sock.access,
    kinds.PTR_TO_SOCK_COMMON: sock.access,
    kinds.PTR_TO_TCP_SOCK: sock.access,
    kinds.PTR_TO_XDP_SOCK: sock.access,
    kinds.CONST_PTR_TO_MAP: map_ptr.access,
    kinds.PTR_TO_ARENA: memory.access_arena,
}
