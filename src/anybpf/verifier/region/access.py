"""One access, and the bounds of flat memory (check_mem_region_access, kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import EACCES
from typing import TYPE_CHECKING

from anybpf import bits, uapi
from anybpf.proto import kinds
from anybpf.verifier.consts import MAX_OFFSET
from anybpf.verifier.decoded import Decoded
from anybpf.verifier.env import Env
from anybpf.verifier.numbers import S32_MIN
from anybpf.verifier.state import Reg

if TYPE_CHECKING:
    from anybpf.verifier.walk import Walk


class Access:
    """`size` bytes at `off` from what `reg` points to (its own offset is in `off`).

    `value` is the register that is loaded or stored; -1: a constant is stored.
    """

    def fill(self, walk: Walk, insn: Decoded, reg: Reg, regno: int, off: int, size: int,
             write: bool, value: int, signed: bool) -> None:
        """In place of `__init__`, which compiled code would call slowly."""
        self.walk, self.env, self.insn = walk, walk.env, insn
        self.reg, self.regno, self.off, self.size = reg, regno, off, size
        self.write, self.value, self.signed = write, value, signed
        #: the register that the access loads, if it loads one
        self.loads = walk.env.reg(value) if value >= 0 and not write else None


def make(walk: Walk, insn: Decoded, reg: Reg, regno: int, off: int, size: int, write: bool,
         value: int, signed: bool = False) -> Access:
    """The access of one instruction in the current state."""
    made = Access.__new__(Access)
    made.fill(walk, insn, reg, regno, off, size, write, value, signed)
    return made


def inside(off: int, size: int, limit: int, zero_ok: bool) -> bool:
    """Whether `size` bytes at `off` lie in `limit` bytes."""
    return off >= 0 and (size > 0 or (size == 0 and zero_ok)) and off + size <= limit


def check_fixed(env: Env, reg: Reg, regno: int, off: int, size: int, limit: int, zero_ok: bool,
                more: str) -> None:
    """Refuse what is not inside, with a second line: R`regno` and `more`."""
    if not inside(off, size, limit, zero_ok):
        raise env.reject(EACCES, f"{_outside(reg, regno, off, size, limit)}\nR{regno} {more}")


def check_region(env: Env, reg: Reg, regno: int, off: int, size: int, limit: int,
                 zero_ok: bool = False) -> None:
    """Inside at the smallest and at the largest offset that the register may have."""
    if reg.smin < 0 and (reg.smin < S32_MIN or off + reg.smin < S32_MIN or off + reg.smin < 0):
        raise env.reject(EACCES, negative(regno))
    # as the kernel does: what is too large is refused below
    low = bits.s32((off + reg.smin) & uapi.U32)
    check_fixed(env, reg, regno, low, size, limit, zero_ok,
                "min value is outside of the allowed memory range")
    if reg.umax >= MAX_OFFSET:
        raise env.reject(EACCES, f"R{regno} unbounded memory access, make sure to bounds check "
                                 "any such access")
    check_fixed(env, reg, regno, off + reg.umax, size, limit, zero_ok,
                "max value is outside of the allowed memory range")


def _outside(reg: Reg, regno: int, off: int, size: int, limit: int) -> str:
    """What is said of `size` bytes at `off` that are not inside `limit` bytes."""
    base = reg.kind & kinds.KIND_MASK
    if base == kinds.PTR_TO_MAP_KEY:
        return f"invalid access to map key, key_size={limit} off={off} size={size}"
    if base == kinds.PTR_TO_MAP_VALUE:
        return f"invalid access to map value, value_size={limit} off={off} size={size}"
    if base in (kinds.PTR_TO_PACKET, kinds.PTR_TO_PACKET_META, kinds.PTR_TO_PACKET_END):
        return (f"invalid access to packet, off={off} size={size}, "
                f"R{regno}(id={reg.id},off={off},r={limit})")
    return f"invalid access to memory, mem_size={limit} off={off} size={size}"


def negative(regno: int) -> str:
    """What is said of an offset that may be below 0."""
    return (f"R{regno} min value is negative, either use unsigned index or do a if (index >=0) "
            "check.")
