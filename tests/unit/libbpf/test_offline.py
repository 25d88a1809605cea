"""The backend that loads nothing: facts of maps, content of constants, what it refuses."""

from __future__ import annotations

import errno

import pytest

from anybpf import uapi
from anybpf.btf.builtin import builtin
from anybpf.btf.encode import BtfBuilder
from anybpf.errors import BpfError, NotSupported
from anybpf.isa.asm import Pseudo, assemble
from anybpf.isa.insn import Insn, encode
from anybpf.libbpf import bpf
from anybpf.libbpf.offline import Offline

ARRAY = uapi.BPF_MAP_TYPE_ARRAY


def attr(text: str, **fields: object) -> bpf.ProgAttr:
    made = {"prog_type": uapi.BPF_PROG_TYPE_XDP, "license": "GPL", "name": "tried"} | fields
    return bpf.ProgAttr(insns=encode(assemble(text)), **made)    # type: ignore[arg-type]


def constants(backend: Offline, content: bytes | None) -> int:
    """A read-only map of one value, as the loader makes it for .rodata."""
    fd = bpf.map_create(backend, ARRAY, 4, 8, 1, name="rodata", map_flags=uapi.BPF_F_RDONLY_PROG)
    if content is not None:
        bpf.map_update_elem(backend, fd, bytes(4), content)
    bpf.map_freeze(backend, fd)
    return fd


def test_programs_are_kept_with_their_verdict() -> None:
    backend = Offline()
    assert bpf.prog_load(backend, attr("r0 = 2\nexit")).fd > 0
    assert bpf.prog_load(backend, attr("r0 = r3\nexit")).fd > 0
    first, second = backend.outcomes
    assert first.verdict is not None
    assert second.verdict is not None
    assert (first.name, first.insns, first.verdict.accepted) == ("tried", 2, True)
    assert (second.verdict.errno, second.verdict.message) == (errno.EACCES, "R3 !read_ok")


@pytest.mark.parametrize(("content", "processed"), [(b"\1" + bytes(7), 5), (None, 4)])
def test_branches_on_constants_are_decided(content: bytes | None, processed: int) -> None:
    backend = Offline()
    fd = constants(backend, content)
    insns = assemble("r1 = value ll\nr0 = *(u64 *)(r1 + 0)\nif r0 == 0 goto +1\nr0 = 7\nexit",
                     {"value": Pseudo(uapi.BPF_PSEUDO_MAP_VALUE, fd)})
    bpf.prog_load(backend, attr("exit")._replace(insns=encode(insns)))
    (outcome,) = backend.outcomes
    assert outcome.verdict is not None
    assert outcome.verdict.accepted
    assert outcome.verdict.insns == processed


def test_the_verifier_is_told_the_modules() -> None:
    kernel = builtin()
    module = BtfBuilder(base=kernel).build()
    backend = Offline(kernel, modules={"one": module})
    bpf.prog_load(backend, attr("exit"))
    assert backend.outcomes[0].facts.modules == (module,)


def test_what_cannot_be_judged_is_kept_too() -> None:
    backend = Offline()
    call = Insn(uapi.BPF_JMP | uapi.BPF_CALL, 0, uapi.BPF_PSEUDO_KFUNC_CALL, 0, 5)
    bpf.prog_load(backend, attr("exit")._replace(insns=encode([call, *assemble("exit")])))
    assert backend.outcomes[0].verdict is None
    assert isinstance(backend.outcomes[0].unsupported, NotSupported)


def test_bad_types_are_refused_as_by_a_kernel() -> None:
    with pytest.raises(BpfError) as caught:
        bpf.btf_load(Offline(), b"not BTF at all")
    assert caught.value.name == "EINVAL"


def test_symbols_that_the_types_name_have_addresses() -> None:
    backend = Offline(builtin())
    assert backend.symbol_addresses(["not_a_symbol"]) == {}
    assert Offline().symbol_addresses(["jiffies"]) == {}


def test_other_commands_are_named() -> None:
    with pytest.raises(NotSupported, match="command"):
        bpf.map_lookup_elem(Offline(), 3, bytes(4), 8)
