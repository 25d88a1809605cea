"""What attaches to programs: what cases cannot say."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.errors import NotSupported
from anybpf.isa.asm import assemble
from anybpf.verifier import Facts, FuncInfo, Options, verify
from anybpf.verifier.facts import FunctionFacts, ProgramFacts
from verifier.c_types import CTypes


def test_extensions_of_struct_ops_programs() -> None:
    types = CTypes("int f(int n);")
    number = types.ids["f"]
    target = ProgramFacts(uapi.BPF_PROG_TYPE_STRUCT_OPS, 0, types.parsed(),
                          (FunctionFacts(number, "f"),))
    facts = Facts(uapi.BPF_PROG_TYPE_EXT, attach_btf_id=number, attach_prog=target,
                  btf=types.parsed(), funcs=(FuncInfo(0, "f", True, number),))
    with pytest.raises(NotSupported, match="extensions of struct_ops programs"):
        verify(assemble("r0 = 0\nexit"), facts, Options())
