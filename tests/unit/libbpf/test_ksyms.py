"""Names of the kernel: found, missing, of another type, in a module."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError, NotSupported
from anybpf.isa.insn import Insn
from anybpf.libbpf.kernel_btf import KernelBtf
from anybpf.libbpf.ksyms import Ksyms
from anybpf.libbpf.log_fixup import POISON_KFUNC_BASE
from anybpf.libbpf.spec import ExternSpec, ObjectSpec

CALL = Insn(uapi.BPF_JMP | uapi.BPF_CALL, src=uapi.BPF_PSEUDO_KFUNC_CALL)
LOAD = Insn(uapi.BPF_LD | uapi.BPF_IMM | uapi.BPF_DW, dst=1)


def declare(builder: BtfBuilder, kind: str, name: str, params: int = 1) -> tuple[int, int]:
    """(id, type id) of a variable `int name` or of a function of so many ints."""
    number = builder.add(t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED))
    if kind == "var":
        return builder.add(t.Var(name, number)), number
    if kind == "const var":
        target = builder.add(t.Const(builder.add(t.Typedef("number", number))))
        return builder.add(t.Var(name, target)), target
    if kind == "struct var":
        target = builder.add(t.Struct("s", 4, (t.Member("x", number, 0),)))
        return builder.add(t.Var(name, target)), target
    proto = builder.add(t.FuncProto(number, (t.Param("a", number),) * params))
    made = builder.add(t.Func(name, proto))
    return made, made


@pytest.fixture
def machine() -> Any:
    """A kernel with a variable, a function, and a module with one of each; and a broken module."""
    found = pytest.importorskip("anybpf.machine")
    objects = pytest.importorskip("anybpf.syscall.objects")
    vmlinux = BtfBuilder()
    declare(vmlinux, "var", "jiffies")
    declare(vmlinux, "func", "bpf_cast")
    base = vmlinux.build()
    machine = found.Machine(btf=base)
    split = BtfBuilder(base=base)
    declare(split, "var", "module_var")
    declare(split, "func", "module_func")
    for name, data in (("broken", b"\x9f\xeb\x01\0"), ("good", split.to_bytes())):
        objects.BtfObject(machine._state.btfs, base, data, name).get()
    user = BtfBuilder()
    declare(user, "func", "users_own")
    objects.BtfObject(machine._state.btfs, user.build(), user.to_bytes()).get()
    return machine


def resolver(backend: Any, kind: str, name: str, *, weak: bool = False,
             params: int = 1) -> Ksyms:
    builder = BtfBuilder()
    is_func = kind == "func"
    btf_id, type_id = (0, 0) if kind == "void" else declare(builder, kind, name, params)
    extern = ExternSpec(name, ".ksyms", weak, is_func, btf_id, type_id)
    spec = ObjectSpec("obj", "little", btf=builder.build() if kind != "void" else Btf(
        builder.to_bytes()), externs={name: extern})
    return Ksyms(spec, backend, KernelBtf(backend))


def resolved(backend: Any, kind: str, name: str, **how: Any) -> Ksyms:
    made = resolver(backend, kind, name, **how)
    made.resolve([name])
    return made


@pytest.mark.parametrize("kind", ["var", "const var"])
def test_a_variable_is_loaded_by_its_id(machine: Any, kind: str) -> None:
    low, high = resolved(machine, kind, "jiffies").address_load("jiffies", LOAD)
    assert (low.src, low.imm, high.imm) == (uapi.BPF_PSEUDO_BTF_ID, 2, 0)


def test_a_function_of_vmlinux(machine: Any) -> None:
    found = resolved(machine, "func", "bpf_cast")
    call = found.kernel_call("bpf_cast", CALL)
    assert (call.src, call.off, call.imm) == (uapi.BPF_PSEUDO_KFUNC_CALL, 0, 5)
    assert found.fd_array() == ()


def test_a_flavour_names_the_function_without_it(machine: Any) -> None:
    assert resolved(machine, "func", "bpf_cast___old").found["bpf_cast___old"].btf_id == 5


def test_a_function_of_a_module(machine: Any) -> None:
    found = resolved(machine, "func", "module_func")
    call = found.kernel_call("module_func", CALL)
    zero, fd = found.fd_array()
    assert (call.off, zero) == (1, 0)
    assert fd in machine.open_fds
    assert call.imm == found.kernel.modules[0].btf.find("module_func", uapi.BTF_KIND_FUNC)
    found.kernel.close()
    assert machine.open_fds == ()


def test_a_variable_of_a_module_names_the_modules_btf(machine: Any) -> None:
    found = resolved(machine, "var", "module_var")
    low, high = found.address_load("module_var", LOAD)
    assert low.src == uapi.BPF_PSEUDO_BTF_ID
    assert high.imm in machine.open_fds
    found.kernel.close()


def test_a_broken_module_is_passed_over(machine: Any, caplog: Any) -> None:
    assert [m.name for m in KernelBtf(machine).modules] == ["good"]
    assert any(m.startswith("failed to load module") for m in caplog.messages)


@pytest.mark.parametrize(("kind", "name", "params", "number", "why"), [
    ("var", "nothing", 1, errno.ESRCH, "extern (var ksym) 'nothing': not found in kernel BTF"),
    ("func", "nothing", 1, errno.ESRCH, "'nothing': not found in kernel or module BTFs"),
    ("func", "users_own", 1, errno.ESRCH, "'users_own': not found in kernel or module BTFs"),
    ("func", "bpf_cast", 2, errno.EINVAL, "func_proto [2] incompatible with vmlinux [4]"),
    ("struct var", "jiffies", 1, errno.EINVAL,
     "'jiffies': incompatible types, expected [2] struct s, but kernel has [1] int int"),
    ("void", "nothing", 1, errno.ESRCH, "extern 'nothing' (strong): not resolved"),
])
def test_strong_ones_that_do_not_fit(machine: Any, kind: str, name: str, params: int, number: int,
                                     why: str) -> None:
    with pytest.raises(BpfError) as caught:
        resolved(machine, kind, name, params=params)
    assert caught.value.errno == number
    assert why in str(caught.value)


def test_weak_ones_that_are_missing(machine: Any) -> None:
    found = resolved(machine, "func", "nothing", weak=True)
    low, high = found.address_load("nothing", LOAD)         # bpf_ksym_exists() asks this way
    assert (low.src, low.imm, high.imm) == (0, 0, 0)
    assert found.kernel_call("nothing", CALL).imm == POISON_KFUNC_BASE
    other = resolved(machine, "func", "bpf_cast", weak=True, params=3)
    assert other.found["bpf_cast"].btf_id == 0
    low, high = resolved(machine, "void", "nothing", weak=True).address_load("nothing", LOAD)
    assert (low.imm, high.imm) == (0, 0)


def test_addresses_on_a_machine(machine: Any) -> None:
    low, high = resolved(machine, "void", "jiffies").address_load("jiffies", LOAD)
    address = (low.imm & uapi.U32) | (high.imm & uapi.U32) << 32
    assert [address] == machine.symbol_addresses(["jiffies"])["jiffies"]
    bare = pytest.importorskip("anybpf.machine").Machine()
    assert bare.symbol_addresses(["jiffies"]) == {}
    with pytest.raises(NotSupported, match="offers no kernel BTF"):
        resolved(bare, "var", "jiffies", weak=True)


class TwoSymbols:
    """A kernel with two symbols of one name."""

    name = "two"
    num_possible_cpus = 1

    def symbol_addresses(self, names: Any) -> dict[str, list[int]]:
        return {name: [16, 16, 32] for name in names}


def test_an_ambiguous_address() -> None:
    with pytest.raises(BpfError, match="resolution is ambiguous: 0x10 or 0x20"):
        resolved(TwoSymbols(), "void", "twice")


@pytest.mark.kernel
def test_the_running_kernels_symbols(linux: Any) -> None:
    found = resolved(linux, "void", "bpf_prog_put", weak=True).found.get("bpf_prog_put")
    assert (found.address if found else None) == linux.symbol_address("bpf_prog_put")
