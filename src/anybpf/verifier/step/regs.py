"""Reading and writing registers (check_reg_arg and small kin, kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import EACCES, EFAULT

from anybpf import uapi
from anybpf.proto import kinds
from anybpf.verifier import ranges, tnum
from anybpf.verifier.consts import ADD_CONST, FP
from anybpf.verifier.env import Env
from anybpf.verifier.state import Reg, State, mark_unknown


def read(env: Env, regno: int) -> Reg:
    """The register, which must hold something."""
    env.log.scratched_regs |= 1 << regno
    reg = env.reg(regno)
    if reg.kind == kinds.NOT_INIT:
        raise env.reject(EACCES, f"R{regno} !read_ok")
    return reg


def write(env: Env, regno: int) -> Reg:
    """The register, which may be written; its content stays for now."""
    env.log.scratched_regs |= 1 << regno
    if regno == FP:
        raise env.reject(EACCES, "frame pointer is read only")
    return env.reg(regno)


def overwrite(env: Env, regno: int) -> Reg:
    """The register, now any number."""
    reg = write(env, regno)
    mark_unknown(reg)
    return reg


def is_pointer(reg: Reg) -> bool:
    """Anything but a number."""
    return reg.kind != kinds.SCALAR_VALUE


def is_zero(reg: Reg) -> bool:
    """The number 0."""
    return reg.kind == kinds.SCALAR_VALUE and not reg.vm and not reg.vv


def is_constant(reg: Reg, is32: bool) -> bool:
    """A known number (or its known low half)."""
    return reg.kind == kinds.SCALAR_VALUE and (
        ranges.is_const32(reg) if is32 else ranges.is_const(reg))


def width(reg: Reg) -> int:
    """How many bits the largest value needs."""
    return tnum.fls64(reg.umax)


def assign_id(env: Env, reg: Reg) -> None:
    """Before a copy: the two registers learn together (assign_scalar_id_before_mov)."""
    if reg.kind != kinds.SCALAR_VALUE:
        return
    if reg.id & ADD_CONST:
        # a copy of rX + constant starts a family of its own
        reg.id = reg.off = 0
    if not reg.id and reg.vm:
        reg.id = env.new_id()


def every(state: State) -> list[Reg]:
    """All registers of all frames, spilled ones too."""
    found: list[Reg] = []
    for frame in state.frames:
        found += frame.regs
        for slot in frame.stack:
            if slot.spilled():
                found.append(slot.reg)
    return found


_CONTRADICTIONS = {
    ranges.BAD_BOUNDS: "range bounds violation",
    ranges.BAD_CONSTANT: "const tnum out of sync with range bounds",
    ranges.BAD_CONSTANT32: "const subreg tnum out of sync with range bounds",
}


def check_sane(env: Env, reg: Reg, where: str) -> None:
    """Bounds that contradict each other are told and forgotten (reg_bounds_sanity_check).

    That happens on branches that are dead in a way that the bounds do not show.
    """
    why = ranges.contradiction(reg)
    if why:
        _insane(env, reg, where, why)


def _insane(env: Env, reg: Reg, where: str, why: int) -> None:
    text = (f"verifier bug: REG INVARIANTS VIOLATION ({where}): {_CONTRADICTIONS[why]} "
            f"u64=[{reg.umin:#x}, {reg.umax:#x}] s64=[{reg.smin & uapi.U64:#x}, "
            f"{reg.smax & uapi.U64:#x}] u32=[{reg.u32min:#x}, {reg.u32max:#x}] "
            f"s32=[{reg.s32min & uapi.U32:#x}, {reg.s32max & uapi.U32:#x}] "
            f"var_off=({reg.vv:#x}, {reg.vm:#x})")
    if env.facts.flags & uapi.BPF_F_TEST_REG_INVARIANTS:
        raise env.reject(EFAULT, text)
    env.log.write(text + "\n")
    ranges.unbounded64(reg)
    ranges.unbounded32(reg)
