"""Which functions of a kernel may be called, told by its types."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.isa.build import exit_insn, mov64_imm
from anybpf.isa.insn import Insn
from anybpf.verifier import Facts, verify

CALL = Insn(uapi.BPF_JMP | uapi.BPF_CALL, src=uapi.BPF_PSEUDO_KFUNC_CALL)
NAMES = ("bpf_rcu_read_lock", "bpf_rcu_read_unlock")


def _kernel(*tagged: str) -> tuple[Btf, list[int]]:
    """A kernel's types with both functions, these of which have the tag."""
    b = BtfBuilder()
    proto = b.add(t.FuncProto(0, ()))
    ids = [b.add(t.Func(name, proto, 0)) for name in NAMES]
    for name in tagged:
        b.add(t.DeclTag("bpf_kfunc", ids[NAMES.index(name)], -1))
    return b.build(), ids


@pytest.mark.parametrize("tagged", [(), NAMES])
def test_all_or_none_have_the_tag(tagged: tuple[str, ...]) -> None:
    """Types of older kernels have no tags."""
    btf, ids = _kernel(*tagged)
    calls = [CALL._replace(imm=number) for number in ids]
    verdict = verify([*calls, mov64_imm(0, 0), exit_insn()], _facts(btf))
    assert verdict.accepted, verdict.log


def test_function_without_the_tag_is_not_there() -> None:
    """The kernel has the function, but it was built without the set that names it."""
    btf, ids = _kernel(NAMES[1])
    verdict = verify([CALL._replace(imm=ids[0]), exit_insn()], _facts(btf))
    assert verdict.message == "calling kernel function bpf_rcu_read_lock is not allowed"


def _facts(btf: Btf) -> Facts:
    return Facts(uapi.BPF_PROG_TYPE_SCHED_CLS, kernel_btf=btf)
