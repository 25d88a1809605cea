"""Programs that no kernel may be shown: its verifier reads what is not there, and dies of it.

Where a kernel function takes the map that a work queue (or task work) lies in, the kernel reads the
special fields of whatever the register keeps in the map's place, which may be nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest import mock

from anybpf.errors import BpfError, NotSupported
from anybpf.isa.insn import Insn, is_kfunc_call
from anybpf.proto import kfuncs, kinds
from anybpf.verifier import Facts, verify
from anybpf.verifier.step import kfunc_args
from verifier.cases import kernel_types

NAMES = tuple(k.name for k in kfuncs.KFUNCS
              if any("wq" in arg or "task_work" in arg for arg in k.args)
              and any("__map" in arg for arg in k.args))


class Danger(Exception):
    """The kernel would read what is not there."""


def is_dangerous(insns: Sequence[Insn], facts: Facts) -> bool:
    """Whether our verifier comes to such a call."""
    called = {insn.imm for insn in insns if is_kfunc_call(insn)}
    if not any(kernel_types().find(name) in called for name in NAMES):
        return False
    try:
        with _watched():
            verify(list(insns), facts)
    except Danger:
        return True
    except (NotSupported, BpfError):
        pass
    return False


@contextmanager
def _watched() -> Iterator[None]:
    check = kfunc_args._check_map

    def watch(call: kfunc_args.Call, arg: kfunc_args.Arg) -> None:
        if call.map is not None and arg.reg.kind != kinds.SCALAR_VALUE and (
                arg.reg.map is None or not arg.reg.map.fields):
            raise Danger
        check(call, arg)

    with mock.patch.dict(kfunc_args._FIRST, {"map": watch}):
        yield
