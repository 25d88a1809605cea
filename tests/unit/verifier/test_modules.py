"""Functions of modules, through bpf(2) of a Machine and of the backend that loads nothing."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.builtin import builtin
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError
from anybpf.isa.asm import Pseudo, assemble
from anybpf.isa.insn import encode
from anybpf.libbpf import bpf
from anybpf.libbpf.kernel_btf import KernelBtf
from anybpf.libbpf.offline import Offline
from anybpf.verifier import Facts, verify
from anybpf.verifier.facts import TypesFacts

NAME = "bpf_skb_set_fou_encap"
FD = 5
CALL = f"""
r2 = 0
*(u32 *)(r10 - 4) = r2
r2 = r10
r2 += -4
r3 = 1
call {NAME}
r0 = 0
exit
"""


def module(base: Btf) -> Btf:
    """Types of a module with one function that programs may call."""
    made = BtfBuilder(base=base)
    number = base.find("int", uapi.BTF_KIND_INT)
    context = made.add(t.Ptr(base.find("__sk_buff", uapi.BTF_KIND_STRUCT)))
    encap = made.add(t.Ptr(made.add(t.Struct("bpf_fou_encap", 4, (
        t.Member("ports", number, 0),)))))
    proto = made.add(t.FuncProto(number, (
        t.Param("skb_ctx", context), t.Param("encap", encap), t.Param("type", number))))
    made.add(t.Func(NAME, proto))
    return made.build()


BASE = builtin()
MODULE = module(BASE)
NUMBER = MODULE.find(NAME, uapi.BTF_KIND_FUNC)
PROGRAM = assemble(CALL, {NAME: Pseudo(uapi.BPF_PSEUDO_KFUNC_CALL, NUMBER, 1)})


def facts(**fields: Any) -> Facts:
    made = {"fd_array": [0, FD], "btfs": {FD: TypesFacts(MODULE, "fou")}, "kernel_btf": BASE}
    return Facts(uapi.BPF_PROG_TYPE_SCHED_CLS, **(made | fields))


def test_a_function_of_a_module_is_called() -> None:
    verdict = verify(PROGRAM, facts())
    assert verdict.accepted, verdict.log


@pytest.mark.parametrize(("fields", "number", "text"), [
    ({"fd_array": None}, errno.EPROTO, "kfunc offset > 0 without fd_array is invalid"),
    ({"fd_array": [0]}, errno.EFAULT, ""),
    ({"btfs": {}}, errno.EBADF, "invalid module BTF fd specified"),
    ({"btfs": {FD: TypesFacts(MODULE)}}, errno.EINVAL, "BTF fd for kfunc is not a module BTF"),
], ids=str)
def test_where_its_types_are_not(fields: dict[str, Any], number: int, text: str) -> None:
    verdict = verify(PROGRAM, facts(**fields))
    assert verdict.errno == number
    assert verdict.message.splitlines() == [
        *filter(None, [text]), "failed to find BTF for kernel function"]


def backend(name: str) -> Any:
    if name == "offline":
        return Offline(BASE, modules={"fou": MODULE})
    return pytest.importorskip("anybpf.machine").Machine(btf=BASE, modules={"fou": MODULE})


@pytest.fixture(params=["machine", "offline"])
def kernel(request: pytest.FixtureRequest) -> Any:
    return backend(request.param)


def test_a_loader_finds_the_module(kernel: Any) -> None:
    types = KernelBtf(kernel)
    found, number, owner = types.find(NAME, uapi.BTF_KIND_FUNC, "it")
    assert owner is not None
    assert (owner.name, number, found.type(number).name) == ("fou", NUMBER, NAME)
    made = bpf.ProgAttr(insns=encode(PROGRAM), prog_type=uapi.BPF_PROG_TYPE_SCHED_CLS,
                        license="GPL", name="tried", fd_array=(0, types.fd_of(owner)))
    assert bpf.prog_load(kernel, made).fd > 0
    types.close()


def test_the_module_lies_on_the_machines_types() -> None:
    machine = pytest.importorskip("anybpf.machine").Machine
    with pytest.raises(ValueError, match="module fou"):
        machine(modules={"fou": MODULE})


def test_what_is_no_module_has_no_descriptor() -> None:
    with pytest.raises(BpfError) as caught:
        bpf.get_fd_by_id(backend("offline"), uapi.BPF_BTF_GET_FD_BY_ID, 77)
    assert caught.value.errno == errno.ENOENT
