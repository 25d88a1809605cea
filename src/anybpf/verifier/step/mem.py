"""Loads and stores (check_load_mem, check_store_reg, check_mem_access; kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import EACCES, EINVAL

from anybpf import uapi
from anybpf.errors import Bug
from anybpf.proto import kinds
from anybpf.verifier import consts, log, ranges, regtype, tnum
from anybpf.verifier.decoded import Decoded
from anybpf.verifier.env import REFERS_TO_MAP, Env
from anybpf.verifier.region import ctx, map_value, packet, stack
from anybpf.verifier.region.access import Access, make
from anybpf.verifier.region.table import REGIONS
from anybpf.verifier.state import Reg, mark_known_scalar, mark_pointer, mark_unknown
from anybpf.verifier.step import ends, regs
from anybpf.verifier.walk import Walk

#: how misaligned access to a region is told; to the stack it is always refused
ALIGNMENT = {
    kinds.PTR_TO_FLOW_KEYS: "flow keys ",
    kinds.PTR_TO_MAP_KEY: "key ",
    kinds.PTR_TO_MAP_VALUE: "value ",
    kinds.PTR_TO_CTX: "context ",
    kinds.PTR_TO_STACK: "stack ",
    kinds.PTR_TO_SOCKET: "sock ",
    kinds.PTR_TO_SOCK_COMMON: "sock_common ",
    kinds.PTR_TO_TCP_SOCK: "tcp_sock ",
    kinds.PTR_TO_XDP_SOCK: "xdp_sock ",
}
#: where the packet's data begins in memory, modulo 4 (NET_IP_ALIGN)
IP_ALIGN = 2
#: kinds whose loads are rewritten, so that all paths must agree on one
REWRITTEN = frozenset({kinds.PTR_TO_CTX, kinds.PTR_TO_SOCKET, kinds.PTR_TO_SOCK_COMMON,
                       kinds.PTR_TO_TCP_SOCK, kinds.PTR_TO_XDP_SOCK, kinds.PTR_TO_BTF_ID,
                       kinds.PTR_TO_ARENA})


def step_ldx(walk: Walk, insn: Decoded) -> None:
    """A load into a register."""
    load(walk, insn, strict=False, where="ldx")


def load(walk: Walk, insn: Decoded, strict: bool, where: str) -> None:
    """r[dst] = what r[src] + off points to."""
    env = walk.env
    kind = regs.read(env, insn.src).kind
    regs.write(env, insn.dst)
    access(walk, insn, insn.src, write=False, value=insn.dst, strict=strict)
    _remember_kind(env, kind, mixed=not strict)
    regs.check_sane(env, env.reg(insn.dst), where)


def step_st(walk: Walk, insn: Decoded) -> None:
    """A store of a constant."""
    kind = regs.read(walk.env, insn.dst).kind
    access(walk, insn, insn.dst, write=True, value=-1)
    _remember_kind(walk.env, kind)


def step_stx(walk: Walk, insn: Decoded) -> None:
    """A store of a register."""
    store(walk, insn, strict=False)


def store(walk: Walk, insn: Decoded, strict: bool) -> None:
    """What r[dst] + off points to = r[src]."""
    env = walk.env
    regs.read(env, insn.src)
    kind = regs.read(env, insn.dst).kind
    access(walk, insn, insn.dst, write=True, value=insn.src, strict=strict)
    _remember_kind(env, kind)


def _remember_kind(env: Env, kind: int, mixed: bool = False) -> None:
    aux = env.aux[env.idx]
    if not aux.kind:
        aux.kind = kind
    elif kind != aux.kind and (kind & kinds.KIND_MASK in REWRITTEN
                               or aux.kind & kinds.KIND_MASK in REWRITTEN):
        if not mixed or kind & kinds.KIND_MASK not in _PROBED \
                or aux.kind & kinds.KIND_MASK not in _PROBED:
            raise env.reject(EINVAL, "same insn cannot be used with different pointers")
        aux.kind = _merged(kind, aux.kind)


#: loads through these may become loads that may fault
_PROBED = frozenset({kinds.PTR_TO_BTF_ID, kinds.PTR_TO_MEM})


def _merged(a: int, b: int) -> int:
    """What a load goes through where paths differ in how far they trust it."""
    memory = kinds.PTR_TO_MEM in (a & kinds.KIND_MASK, b & kinds.KIND_MASK)
    return (kinds.PTR_TO_MEM if memory else kinds.PTR_TO_BTF_ID) | (a | b) & (
        kinds.PTR_UNTRUSTED | kinds.MEM_RDONLY)


def access(walk: Walk, insn: Decoded, regno: int, write: bool, value: int,
           strict: bool = False) -> None:
    """One access of memory; the loaded register becomes what was read."""
    env = walk.env
    reg = env.reg(regno)
    size = insn.size_bytes
    check_alignment(env, reg, insn.off, size, strict)
    signed = insn.cls == uapi.BPF_LDX and insn.mode == uapi.BPF_MEMSX
    what = make(walk, insn, reg, regno, insn.off + reg.off, size, write, value, signed)
    if regtype.may_be_null(reg.kind) or not _into(what, reg.kind & kinds.KIND_MASK):
        _refuse(env, reg, regno)
        return
    if value >= 0 and not write:
        narrow(env.reg(value), size, signed)


def _into(what: Access, base: int) -> bool:
    """The rules of the region; False if there are none. The usual ones go without the table."""
    if base == kinds.PTR_TO_STACK:
        stack.access(what)
    elif base == kinds.PTR_TO_PACKET:
        packet.access(what)
    elif base == kinds.PTR_TO_MAP_VALUE:
        map_value.access(what)
    else:
        region = REGIONS.get(base)
        if region is None:
            return False
        region(what)
    return True


def _refuse(env: Env, reg: Reg, regno: int) -> None:
    raise env.reject(EACCES, f"R{regno} invalid mem access '{regtype.text(reg.kind)}'")


def narrow(reg: Reg, size: int, signed: bool) -> None:
    """A load of less than 8 bytes extends what it read."""
    if size == 8 or reg.kind != kinds.SCALAR_VALUE:
        return
    if signed:
        ranges.sign_extend(reg, size)
    else:
        ranges.truncate(reg, size)


def check_alignment(env: Env, reg: Reg, off: int, size: int, strict: bool) -> None:
    """The address is a multiple of the size, where that matters (check_ptr_alignment)."""
    strict = strict or env.strict_alignment or reg.kind == kinds.PTR_TO_STACK
    if not strict or size == 1 or reg.kind == kinds.PTR_TO_ARENA:
        return
    packet_pointer = regtype.is_packet(reg.kind)
    total = reg.off + off + (IP_ALIGN if packet_pointer else 0)
    vv, vm = tnum.add(reg.vv, reg.vm, total & uapi.U64, 0)
    if tnum.aligned(vv, vm, size):
        return
    bits = log.offset_text(reg.vv, reg.vm)
    what = f"packet access off {IP_ALIGN}+" if packet_pointer \
        else f"{ALIGNMENT.get(reg.kind, '')}access off "
    raise env.reject(EACCES, f"misaligned {what}{bits}+{reg.off}+{off} size {size}")


# -- 64-bit immediates and the old packet loads


def step_ld(walk: Walk, insn: Decoded) -> int:
    """`ld_imm64`, or a load from the packet by absolute or indirect offset."""
    if not insn.is_ld_imm64:
        return _ld_packet(walk, insn)
    env = walk.env
    dst = regs.overwrite(env, insn.dst)
    if insn.src == uapi.BPF_PSEUDO_FUNC:
        mark_pointer(dst, kinds.PTR_TO_FUNC)
        if not env.facts.funcs:
            raise env.reject(EINVAL, "missing btf func_info")
        dst.subprog = env.subprog_at(env.idx + insn.imm + 1)
        if env.subprogs[dst.subprog].is_global:
            raise env.reject(EINVAL, "callback function not static")
    elif insn.src in REFERS_TO_MAP:
        _load_map(env, insn, dst)
    elif insn.src == uapi.BPF_PSEUDO_BTF_ID:
        _load_symbol(env, dst)
    else:
        mark_known_scalar(dst, env.address_of(env.idx))
    env.idx += 1
    return consts.NEXT


def _load_symbol(env: Env, dst: Reg) -> None:
    symbol = env.aux[env.idx].symbol
    if symbol is None:
        raise Bug("a symbol that was not resolved")
    symbol.load(dst)


def _load_map(env: Env, insn: Decoded, dst: Reg) -> None:
    aux = env.aux[env.idx]
    direct = insn.src in (uapi.BPF_PSEUDO_MAP_VALUE, uapi.BPF_PSEUDO_MAP_IDX_VALUE)
    if direct and aux.map is not None and aux.map.type == uapi.BPF_MAP_TYPE_ARENA:
        mark_unknown(dst)  # user space's address, yet to be cast
        return
    mark_pointer(dst, kinds.PTR_TO_MAP_VALUE if direct else kinds.CONST_PTR_TO_MAP)
    dst.map = aux.map
    if direct:
        dst.off = aux.map_offset


def _ld_packet(walk: Walk, insn: Decoded) -> int:
    env = walk.env
    ctx_reg = regs.read(env, 6)
    ends.check_resources(env, "BPF_LD_[ABS|IND]")
    if ctx_reg.kind != kinds.PTR_TO_CTX:
        raise env.reject(EINVAL, "at the time of BPF_LD_ABS|IND R6 != pointer to skb")
    if insn.mode == uapi.BPF_IND:
        regs.read(env, insn.src)
    ctx.check_unmoved(env, ctx_reg, 6)
    for number in range(6):
        env.log.scratched_regs |= 1 << number
        reg = env.regs[number]
        mark_unknown(reg)
        reg.kind = kinds.NOT_INIT if number else kinds.SCALAR_VALUE
    return ends.left_by_load(walk) if len(env.state.frames) > 1 else consts.NEXT
