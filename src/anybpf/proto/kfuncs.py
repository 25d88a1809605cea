"""Kernel functions that programs may call: prototype, flags, program types (kernel/bpf/btf.c).

The rows themselves are generated (`kfunc_rows`); this gives them names and types.
"""

from __future__ import annotations

from typing import NamedTuple

from anybpf.proto import attach, kfunc_rows, progs
from anybpf.proto.struct_ops import FILTERS

# bits of `Kfunc.flags`, as in include/linux/btf.h
KF_ACQUIRE = 1 << 0  # the result is a reference that must be released
KF_RELEASE = 1 << 1  # takes a reference back
KF_RET_NULL = 1 << 2  # the result may be NULL
KF_TRUSTED_ARGS = 1 << 4  # pointers must be trusted
KF_SLEEPABLE = 1 << 5  # only in sleepable programs
KF_DESTRUCTIVE = 1 << 6  # takes CAP_SYS_BOOT
KF_RCU = 1 << 7  # pointers may be RCU-protected ones
KF_ITER_NEW = 1 << 8
KF_ITER_NEXT = 1 << 9
KF_ITER_DESTROY = 1 << 10
KF_RCU_PROTECTED = 1 << 11  # only inside an RCU read section
KF_FASTCALL = 1 << 12  # keeps r1..r5
KF_ARENA_RET = 1 << 13
KF_ARENA_ARG1 = 1 << 14
KF_ARENA_ARG2 = 1 << 15


class KfuncSet(NamedTuple):
    """Kfuncs that are registered together."""

    name: str
    prog_types: tuple[int, ...]
    """Program types that may call them; empty: all."""
    attach: tuple[int, ...]
    """Only under these expected attach types; empty: under any."""


class Kfunc(NamedTuple):
    """A kernel function."""

    name: str
    ret: str
    """The C type that it returns."""
    args: tuple[str, ...]
    """C declarations of its arguments, such as `"struct task_struct *p"`."""
    flags: int
    """`KF_*` bits."""
    sets: tuple[KfuncSet, ...]
    """Where it is registered; none: it may only be attached to."""
    since: str
    """The first kernel version that has it."""

    def callable_from(self, prog_type: int, attach_type: int = 0,
                      hook: tuple[str, str] | None = None) -> bool:
        """True if programs of this type may call it; `hook`: for this member of a struct."""
        return any((not s.prog_types or prog_type in s.prog_types)
                   and (not s.attach or attach_type in s.attach)
                   and self._passes(s, hook) for s in self.sets)

    def _passes(self, where: KfuncSet, hook: tuple[str, str] | None) -> bool:
        found = FILTERS.get(where.name)
        return found is None or (hook is not None and found.passes(self.name, *hook))


def _set(name: str, types: str, attach_types: str) -> KfuncSet:
    numbers = () if types == "any" else tuple(progs.BY_NAME[t].type for t in types.split())
    return KfuncSet(name, numbers, tuple(attach.BY_NAME[a].type for a in attach_types.split()))


def _row(name: str, ret: str, args: str, flags: str, sets: str, since: str) -> Kfunc:
    bits = sum(globals()[f"KF_{flag}"] for flag in flags.split())
    places = tuple(SETS[s] for s in sets.split())
    return Kfunc(name, ret, tuple(args.split(", ")) if args else (), bits, places, since)


SETS: dict[str, KfuncSet] = {name: _set(name, *row) for name, row in kfunc_rows.SETS.items()}
KFUNCS: tuple[Kfunc, ...] = tuple(_row(*row) for row in kfunc_rows.ROWS)
BY_NAME: dict[str, Kfunc] = {k.name: k for k in KFUNCS}
