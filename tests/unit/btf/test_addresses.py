"""Addresses of a kernel in memory."""

from __future__ import annotations

from anybpf import uapi
from anybpf.btf import addresses
from anybpf.btf import types as t
from anybpf.btf.builtin import builtin
from anybpf.btf.encode import BtfBuilder


def test_only_what_has_a_type_has_an_address() -> None:
    assert addresses.made_up(["no_such_symbol"], (builtin(), None)) == {}
    assert addresses.made_up(["anything"], ()) == {}


def test_functions_and_variables_of_kernel_and_modules() -> None:
    builder = BtfBuilder()
    number = builder.add(t.Int("int", 4))
    builder.add(t.Var("ticks", number, uapi.BTF_VAR_GLOBAL_ALLOCATED))
    kernel = builder.build()
    above = BtfBuilder(base=kernel)
    proto = above.add(t.FuncProto(0, ()))
    above.add(t.Func("helps", proto, uapi.BTF_FUNC_STATIC))
    found = addresses.made_up(["ticks", "helps", "int"], (kernel, above.build()))
    assert sorted(found) == ["helps", "ticks"]
    assert found["ticks"] != found["helps"]
    assert all(one >= addresses.TEXT for (one,) in found.values())
