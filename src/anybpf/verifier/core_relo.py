"""CO-RE records of BPF_PROG_LOAD (check_core_relo in kernel/bpf/verifier.c, bpf_core_apply).

The rules are libbpf's (`anybpf.btf.relo_core`); the kernel compares types less deeply, wants the
same kind of enum, starts afresh with each record, and writes all that it finds into the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from errno import EINVAL

from anybpf.btf import relo_spec as rs
from anybpf.btf.ext import CoreRelo
from anybpf.btf.parse import Btf
from anybpf.btf.relo_cands import Candidate, Target, named
from anybpf.btf.relo_core import Relocator
from anybpf.btf.relo_patch import patch
from anybpf.errors import BpfError, LoadError
from anybpf.isa.insn import Insn
from anybpf.verifier.env import Env
from anybpf.verifier.reject import Reject

#: MAX_TYPES_ARE_COMPAT_DEPTH, MAX_TYPES_MATCH_DEPTH
DEPTH = 2


class KernelTarget(Target):
    """The kernel's own types, as it searches them itself."""

    def _in(self, btf: Btf, origin: str, local: Btf, type_id: int,
            name: str) -> Iterator[Candidate]:
        kind = local.kind(type_id)
        for found in named(btf, name):
            if btf.kind(found) == kind:
                rs.tell("CO-RE relocating %s %s: found target candidate [%d]",
                        rs.type_text(local, type_id), name, found)
                yield Candidate(btf, found, origin)


def apply(env: Env, local: Btf, kernel: Callable[[], Target | None],
          relos: Iterable[CoreRelo]) -> None:
    """Resolve the records in order, changing the instructions. Raises BpfError, Reject."""
    target: Target | None = None
    for number, relo in enumerate(relos):
        if relo.insn_off % rs.INSN_SIZE or relo.insn_off // rs.INSN_SIZE >= len(env.insns):
            raise Reject(EINVAL, f"Invalid core_relo[{number}].insn_off:{relo.insn_off} "
                                 f"prog->len:{len(env.insns)}")
        target = target or kernel()
        _check_type(local, relo, number, target)
        with rs.as_kernel(env.log.write):
            _apply_one(local, target, env.insns, number, relo)


def _check_type(local: Btf, relo: CoreRelo, number: int, target: Target | None) -> None:
    """The record's type exists and, where candidates are needed, can have some."""
    if relo.type_id >= len(local):
        raise Reject(EINVAL, f"relo #{number}: bad type id {relo.type_id}")
    has_name = relo.type_id and local.type(relo.type_id).name
    if relo.kind != rs.TYPE_ID_LOCAL and (target is None or not has_name):
        raise Reject(EINVAL, f"target candidate search failed for {relo.type_id}")


def _apply_one(local: Btf, target: Target | None, insns: list[Insn], number: int,
               relo: CoreRelo) -> None:
    where = f"prog '': relo #{number}"
    try:
        answer = Relocator(local, target or KernelTarget(local), DEPTH).resolve(relo, where)
        patch(insns, relo.insn_off // rs.INSN_SIZE, answer, where)
    except LoadError as error:
        raise BpfError(EINVAL, error.message) from None
