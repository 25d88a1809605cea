"""Whether what was proved for one state holds for another (states_equal, kernel/bpf/states.c).

An old state that was found safe makes a current one safe if the current one allows nothing that
the old one did not: ranges lie inside, pointers are the same, and ids are linked the same way.
"""

from __future__ import annotations

from anybpf import uapi
from anybpf.proto import kinds
from anybpf.verifier import consts, ranges, tnum
from anybpf.verifier.consts import ADD_CONST, INVALID, IRQ_FLAG, ITER, MISC
from anybpf.verifier.env import Env
from anybpf.verifier.state import (
    Frame,
    Reg,
    Slot,
    State,
    mark_unknown,
    same_pointer,
    same_value,
)

_UNBOUND = Reg()
mark_unknown(_UNBOUND)


class Ids:
    """Which old id stands for which current one."""

    def __init__(self, first_free: int) -> None:
        self.start(first_free)

    def start(self, first_free: int) -> None:
        """All of `__init__`, for compiled code, which would call that slowly."""
        #: made when the first two belong together: mostly none do
        self.pairs: dict[int, int] | None = None
        self.back: dict[int, int] | None = None
        self.fresh = first_free

    def match(self, old: int, cur: int) -> bool:
        """Both have no id, or the two belong together from here on."""
        if not old or not cur:
            return old == cur
        if self.pairs is None or self.back is None:
            self.pairs, self.back = {old: cur}, {cur: old}
            return True
        known = self.pairs.get(old)
        if known is not None:
            return bool(known == cur)
        if cur in self.back:
            return False
        self.pairs[old] = cur
        self.back[cur] = old
        return True

    def match_scalar(self, old: int, cur: int) -> bool:
        """The same for numbers: an old one without id was safe alone, whatever `cur` is tied to.

        What lies at a distance from a number belongs to the same one of the other state, too.
        """
        if not old:
            return True
        cur = cur or self._new()
        return self.match(old, cur) and (
            not old & ADD_CONST or self.match(old & ~ADD_CONST, cur & ~ADD_CONST))

    def _new(self) -> int:
        self.fresh += 1
        return self.fresh


def states_equal(env: Env, old: State, cur: State, exact: int) -> bool:
    """Whether `cur` needs no walk because `old` had one."""
    if len(old.frames) != len(cur.frames) or old.sleepable != cur.sleepable:
        return False
    if old.speculative and not cur.speculative:
        return False
    ids = Ids.__new__(Ids)
    ids.start(env.ids)
    if not _resources_equal(old, cur, ids):
        return False
    for i in range(len(old.frames)):
        a, b = old.frames[i], cur.frames[i]
        if a.callsite != b.callsite or not _frames_equal(env, a, b, old.insn_of(i), ids, exact):
            return False
    return True


def _resources_equal(old: State, cur: State, ids: Ids) -> bool:
    if (len(old.refs) != len(cur.refs) or old.locks != cur.locks
            or old.preempt_locks != cur.preempt_locks or old.rcu_locks != cur.rcu_locks
            or not ids.match(old.irq_id, cur.irq_id)
            or old.lock_owner is not cur.lock_owner):
        return False
    if not ids.match(old.lock_id, cur.lock_id):
        return False
    if not old.refs:
        return True
    for a, b in zip(old.refs, cur.refs, strict=True):
        if a.type != b.type or a.owner is not b.owner or not ids.match(a.id, b.id):
            return False
    return True


def _frames_equal(env: Env, old: Frame, cur: Frame, idx: int, ids: Ids, exact: int) -> bool:
    if old.callback_depth > cur.callback_depth:
        return False
    aux = env.aux[idx]
    for i in range(consts.REGS):
        if aux.live_before >> i & 1 and not reg_safe(old.regs[i], cur.regs[i], ids, exact):
            return False
    return _stacks_equal(old.stack, cur.stack, ids, exact)


def regs_exact(old: Reg, cur: Reg, ids: Ids) -> bool:
    """The same value, linked the same way."""
    return same_value(old, cur) and ids.match(old.id, cur.id) and ids.match(old.ref, cur.ref)


def reg_safe(old: Reg, cur: Reg, ids: Ids, exact: int) -> bool:
    """Whether what was safe with `old` is safe with `cur`."""
    if exact == consts.EXACT:
        return regs_exact(old, cur, ids)
    if old.kind == kinds.NOT_INIT and (exact == consts.NOT_EXACT or cur.kind == kinds.NOT_INIT):
        return True
    if old.kind != cur.kind:
        return False
    base = old.kind & kinds.KIND_MASK
    if base == kinds.SCALAR_VALUE:
        return _scalar_safe(old, cur, ids, exact)
    if base in (kinds.PTR_TO_MAP_KEY, kinds.PTR_TO_MAP_VALUE, kinds.PTR_TO_MEM, kinds.PTR_TO_BUF,
                kinds.PTR_TO_TP_BUFFER):
        return (same_pointer(old, cur) and _inside(old, cur) and ids.match(old.id, cur.id)
                and ids.match(old.ref, cur.ref))
    if base == kinds.PTR_TO_PACKET or base == kinds.PTR_TO_PACKET_META:
        return (_reaches(old.packet_range, cur.packet_range) and old.off == cur.off
                and ids.match(old.id, cur.id) and _inside(old, cur))
    if base == kinds.PTR_TO_STACK:
        return regs_exact(old, cur, ids) and old.frameno == cur.frameno
    return base == kinds.PTR_TO_ARENA or regs_exact(old, cur, ids)


def _reaches(old: int, cur: int) -> bool:
    """As much of the packet was checked; comparisons with its end must be the same."""
    return old == cur if old < 0 or cur < 0 else old <= cur


def _inside(old: Reg, cur: Reg) -> bool:
    return ranges.within(old, cur) and tnum.within(old.vv, old.vm, cur.vv, cur.vm)


def _scalar_safe(old: Reg, cur: Reg, ids: Ids, exact: int) -> bool:
    if not old.precise and exact == consts.NOT_EXACT:
        return True
    if old.id and old.id & ADD_CONST != cur.id & ADD_CONST:
        return False
    if old.id & ADD_CONST and old.off != cur.off:
        return False
    return _inside(old, cur) and ids.match_scalar(old.id, cur.id)


def _as_scalar(slot: Slot) -> Reg | None:
    """The number that a load of all eight bytes gives, if it is one."""
    if slot.whole_scalar():
        return slot.reg
    return _UNBOUND if _all_free(slot) else None


def _all_free(slot: Slot) -> bool:
    """Nothing that may be relied on: bytes of any content, or never written."""
    return slot.types & ~(consts.EACH_BYTE * consts.MISC) & uapi.U64 == 0


def _stacks_equal(old: list[Slot], cur: list[Slot], ids: Ids, exact: int) -> bool:
    for i in range(len(old)):
        if not _slot_safe(old[i], cur[i] if i < len(cur) else None, ids, exact):
            return False
    return True


def _slot_safe(old: Slot, cur: Slot | None, ids: Ids, exact: int) -> bool:
    if exact != consts.NOT_EXACT and (cur is None or old.types != cur.types):
        return False
    if _all_free(old):
        return True
    if cur is None:
        return False
    if old.whole_scalar():
        number = _as_scalar(cur)
        if number is not None:
            return reg_safe(old.reg, number, ids, exact)
    if old.types != cur.types and not _bytes_safe(old, cur):
        return False
    if old.spilled():
        return reg_safe(old.reg, cur.reg, ids, exact)
    return not old.special() or _object_safe(old, cur, ids)


def _bytes_safe(old: Slot, cur: Slot) -> bool:
    """Every byte that matters holds the same kind."""
    for i in range(consts.SLOT_BYTES):
        kind = old.kind(i)
        if kind not in (INVALID, MISC) and kind != cur.kind(i):
            return False
    return True


def _object_safe(old: Slot, cur: Slot, ids: Ids) -> bool:
    """The same object of the kernel; how often an iterator went on does not matter."""
    a, b = old.reg, cur.reg
    if a.slot_state != b.slot_state or not ids.match(a.ref, b.ref):
        return False
    if old.kind(7) == ITER:
        return a.btf is b.btf and a.btf_id == b.btf_id
    return old.kind(7) == IRQ_FLAG or a.slot_depth == b.slot_depth
