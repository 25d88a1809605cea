"""struct_ops variables: read from an object, laid out for a kernel, loaded on the running one."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.errors import BpfError, LoadError, NotSupported
from anybpf.libbpf import Object, read_object, struct_ops
from anybpf.libbpf import elf as e
from anybpf.libbpf.kernel_btf import KernelBtf
from anybpf.libbpf.spec import MapSpec, StructOps
from conftest import Build
from objects.elfbuild import ALLOC_WRITE, EXIT, MOV, ElfBuilder

Change = Callable[["Types"], None]


def test_reading(build: Build) -> None:
    spec = read_object(build("ops.bpf.c").read_bytes())
    made = {m.name: m for m in spec.maps.values()}
    assert list(made) == ["table", "wide", "optional", "gone"]
    assert all(m.type == uapi.BPF_MAP_TYPE_STRUCT_OPS for m in made.values())
    assert made["wide"].flags == uapi.BPF_F_LINK
    assert [m.autocreate for m in made.values()] == [True, True, False, False]
    assert made["table"].struct_ops is not None
    assert made["table"].struct_ops.programs == {0: "first", 1: "second", 2: "sleeps"}
    assert not any(name.endswith("struct_ops") for name in spec.other)


@pytest.mark.kernel
def test_loading(build: Build, linux: Any) -> None:
    with Object.open(build("ops.bpf.c")).load(linux) as obj:
        fds = {name: p.fd for name, p in obj.programs.items()}
        assert fds["optional_only"] is None
        value = obj.maps["table"].struct_ops_value
        assert value is not None
        words = [int.from_bytes(value[i:i + 8], "little") for i in range(0, len(value), 8)]
        assert [w for w in words if w] == [fds["first"], fds["second"], fds["sleeps"]]
        info = obj.maps["table"].info()
        assert info["value_size"] == len(value)
        assert info["btf_vmlinux_value_type_id"]
        assert obj.programs["second"].info()["attach_btf_id"] == obj.programs["first"].struct_ops_id
        assert obj.programs["second"].expected_attach_type == 1
        assert obj.maps["optional"].fd is None


@pytest.mark.kernel
def test_asking_for_the_optional_ones(build: Build, linux: Any) -> None:
    obj = Object.open(build("ops.bpf.c"))
    obj.maps["optional"].autocreate = True
    with obj.load(linux):
        assert obj.programs["optional_only"].fd is not None
    obj.maps["gone"].autocreate = True
    with pytest.raises(BpfError, match="Cannot find member no_such_hook in kernel BTF") as caught:
        obj.load(linux)
    assert caught.value.errno == errno.ENOTSUP


def test_a_machine_has_none(build: Build) -> None:
    machine = pytest.importorskip("anybpf.machine").Machine()
    with pytest.raises(NotSupported, match="struct_ops map 'table'"):
        Object.open(build("ops.bpf.c")).load(machine)
    assert machine.open_fds == ()


def test_a_machine_with_the_kernels_types_has_none(build: Build) -> None:
    types = Types()
    types.name_like("bpf_dummy_ops", "bpf_dummy_ops_state")
    machine = pytest.importorskip("anybpf.machine").Machine(btf=types.build())
    with pytest.raises(NotSupported, match="struct_ops"):
        Object.open(build("ops.bpf.c")).load(machine)
    assert machine.open_fds == ()


# laying out

class Types:
    """A kernel with `struct ops { int a; void (*f)(void); u64 b; }` and the struct around it."""

    def __init__(self) -> None:
        b = self.builder = BtfBuilder()
        self.int = b.add(t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED))
        self.long = b.add(t.Int("u64", 8))
        self.hook = b.add(t.Ptr(b.add(t.FuncProto(0))))
        self.members = [t.Member("b", self.long, 0), t.Member("f", self.hook, 64),
                        t.Member("a", self.int, 128)]
        self.prefix = "bpf_struct_ops_"
        self.inside = True

    def name_like(self, name: str, state: str) -> None:
        """The hooks of the object that the tests compile."""
        self.members = [t.Member(n, self.hook, 64 * i)
                        for i, n in enumerate(("test_1", "test_2", "test_sleepable"))]
        self.name = name

    name = "ops"

    def build(self) -> Any:
        b = self.builder
        inner = b.add(t.Struct(self.name, 24, tuple(self.members)))
        data = t.Member("data", inner if self.inside else self.long, 512)
        b.add(t.Struct(self.prefix + self.name, 128, (t.Member("refs", self.long, 0), data)))
        return b.build()


def fit(change: Change | None = None, members: tuple[tuple[str, str], ...] = (
        ("a", "int"), ("f", "hook"), ("gone", "long")), content: bytes = b"") -> struct_ops.Fitted:
    """Lay `struct ops___mine { ... }` with program `p` in its second member out."""
    machine = pytest.importorskip("anybpf.machine")
    kernel, mine = Types(), Types()
    if change is not None:
        change(kernel)
    struct = tuple(t.Member(n, getattr(mine, kind), 64 * i) for i, (n, kind) in enumerate(members))
    mine.builder.add(t.Struct("ops___mine", 24, struct))
    local = mine.builder.build()
    ops = StructOps(local.find("ops___mine"), bytearray(content.ljust(24, b"\0")), {1: "p"})
    made = MapSpec("m", uapi.BPF_MAP_TYPE_STRUCT_OPS, 4, 24, 1, struct_ops=ops)
    return struct_ops.fit(made, local, KernelBtf(machine.Machine(btf=kernel.build())))


def test_members_move_to_where_the_kernel_has_them() -> None:
    made = fit(content=b"\7\0\0\0")
    assert made.value[64 + 16] == 7
    assert [(h.program, h.index, h.offset) for h in made.hooks] == [("p", 1, 72)]
    assert made.filled({"p": 9})[72] == 9
    assert made.filled({})[72] == 0


def _bitfield(kernel: Types) -> None:
    kernel.members[2] = t.Member("a", kernel.int, 128, 3)


def _other_kind(kernel: Types) -> None:
    kernel.members[2] = t.Member("a", kernel.hook, 128)


def _other_size(kernel: Types) -> None:
    kernel.members[2] = t.Member("a", kernel.long, 128)


def _no_function(kernel: Types) -> None:
    kernel.members[1] = t.Member("f", kernel.builder.add(t.Ptr(kernel.int)), 64)


@pytest.mark.parametrize(("change", "number", "why"), [
    (_bitfield, errno.ENOTSUP, "bitfield a is not supported"),
    (_other_kind, errno.ENOTSUP, "Unmatched member type a 1 != 2(kernel)"),
    (_other_size, errno.ENOTSUP, "Error in size of member a: 4 != 8(kernel)"),
    (_no_function, errno.ENOTSUP, "kernel member f is not a func ptr"),
    (lambda k: setattr(k, "name", "other"), errno.ENOTSUP,
     "struct ops is not found in kernel BTF"),
    (lambda k: setattr(k, "prefix", "x_"), errno.ENOTSUP,
     "struct bpf_struct_ops_ops is not found in kernel BTF"),
    (lambda k: setattr(k, "inside", False), errno.EINVAL,
     "struct ops data is not found in struct bpf_struct_ops_ops"),
])
def test_kernels_that_it_does_not_fit(change: Change, number: int, why: str) -> None:
    with pytest.raises(BpfError) as caught:
        fit(change)
    assert caught.value.errno == number
    assert why in str(caught.value)


def test_a_member_that_the_kernel_lacks() -> None:
    with pytest.raises(BpfError, match="Cannot find member gone"):
        fit(content=bytes(16) + b"\1")
    with pytest.raises(BpfError, match="Cannot find member g"):
        fit(members=(("a", "int"), ("g", "hook")))


# malformed objects

def broken(struct: Callable[[BtfBuilder, int], int], at: int = 0, target: str = "prog",
           section: str = "struct_ops/f") -> bytes:
    """An object with one struct_ops variable `m` and a pointer at byte `at` of it."""
    builder = BtfBuilder()
    number = builder.add(t.Int("int", 4, encoding=uapi.BTF_INT_SIGNED))
    var = builder.add(t.Var("m", struct(builder, number)))
    builder.add(t.Datasec(".struct_ops", 16, (t.SecVar(var, 0, 16),)))
    made = ElfBuilder()
    symbols = {"prog": made.function("prog", made.code(section, [MOV, EXIT]), 0, 16)}
    ops = made.section(".struct_ops", bytes(16), flags=ALLOC_WRITE)
    symbols["m"] = made.symbol("m", ops, 0, 16)
    made.relocate(ops, (at, symbols[target], e.R_BPF_64_ABS64))
    made.section(".BTF", builder.to_bytes(), flags=0)
    return made.to_bytes()


def _good(builder: BtfBuilder, number: int) -> int:
    hook = builder.add(t.Ptr(builder.add(t.FuncProto(0))))
    return builder.add(t.Struct("ops", 16, (t.Member("f", hook, 0), t.Member("n", number, 64))))


@pytest.mark.parametrize(("data", "why"), [
    (lambda: broken(lambda b, n: b.add(t.Struct("", 16, ()))), "anonymous type is not supported"),
    (lambda: broken(lambda b, n: n), "int is not a struct"),
    (lambda: broken(lambda b, n: b.add(t.Struct("ops", 99, ()))), "beyond the end of DATASEC"),
    (lambda: broken(_good, at=4), "cannot find member at moff 4"),
    (lambda: broken(_good, at=8), "cannot relocate non func ptr n"),
    (lambda: broken(_good, target="m"), "cannot find prog at shdr_idx"),
    (lambda: broken(_good, section="xdp"), "prog prog is not struct_ops BPF program"),
])
def test_malformed(data: Callable[[], bytes], why: str) -> None:
    with pytest.raises(LoadError, match=why):
        read_object(data())
