"""The whole verifier on small programs, without a kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from errno import EACCES, EINVAL

import pytest

from anybpf import uapi
from anybpf.btf.fields import BY_TAG, Field
from anybpf.errors import NotSupported
from anybpf.isa.asm import Pseudo, assemble
from anybpf.isa.insn import Insn
from anybpf.proto import contexts
from anybpf.verifier import Facts, FuncInfo, LineInfo, MapFacts, Options, Verdict, verify

FILTER = uapi.BPF_PROG_TYPE_SOCKET_FILTER
CALLBACK = """
    r1 = 10
    r2 = cb ll
    r3 = r10
    r4 = 0
    *(u64 *)(r10 - 8) = 0
    call bpf_loop
    r0 = 0
    exit
cb: r0 = *(u64 *)(r2 - 8)
    r0 += 1
    *(u64 *)(r2 - 8) = r0
    r0 = 0
    exit
"""


def ask(text: str, facts: Facts | None = None, level: int = 0, **symbols: Pseudo) -> Verdict:
    return verify(assemble(text, symbols), facts or Facts(FILTER), Options(level))


def test_accepts() -> None:
    verdict = ask("r0 = 0\nexit")
    assert (verdict.accepted, verdict.errno, verdict.insns, verdict.log) == (True, 0, 2, "")


def test_refuses_with_message_and_instruction() -> None:
    verdict = ask("r0 = r2\nexit")
    assert (verdict.errno, verdict.message, verdict.insn) == (EACCES, "R2 !read_ok", 0)
    assert not verdict.accepted


def test_level_1_keeps_only_the_path_that_fails() -> None:
    text = "r0 = *(u32 *)(r1 + 0)\nif r0 > 5 goto bad\nr0 = 0\nexit\nbad: r0 = r3\nexit"
    verdict = ask(text, level=1)
    assert "goto pc+2 4: R0=" in verdict.log
    assert "2: (b7) r0 = 0" not in verdict.log
    assert ask("r0 = 0\nexit", level=1).log.startswith("processed 2 insns")


def test_constants_of_frozen_maps() -> None:
    known = MapFacts(uapi.BPF_MAP_TYPE_ARRAY, 4, 8, 1, uapi.BPF_F_RDONLY_PROG,
                     content=bytes((2, 0, 0, 0, 0, 0, 0, 0)), frozen=True)
    text = "r1 = m ll\nr2 = *(u32 *)(r1 + 0)\nr0 = r10\nr0 += -8\nr0 += r2\n*(u8 *)(r0 + 0) = 1\n" \
           "r0 = 0\nexit"
    verdict = ask(text, Facts(FILTER, maps={7: known}), 2,
                  m=Pseudo(uapi.BPF_PSEUDO_MAP_VALUE, 7))
    assert verdict.accepted
    assert "R2=2" in verdict.log


def test_callbacks_need_their_records() -> None:
    verdict = ask(CALLBACK)
    assert (verdict.errno, verdict.message) == (EINVAL, "missing btf func_info")
    funcs = (FuncInfo(0, "main"), FuncInfo(10, "cb"))
    assert ask(CALLBACK, Facts(FILTER, funcs=funcs)).accepted


def test_members_that_name_types_need_the_types() -> None:
    member = Field(BY_TAG["kptr"], 0, value_type=3)
    with pytest.raises(ValueError, match="btf"):
        MapFacts(uapi.BPF_MAP_TYPE_ARRAY, fields=(member,))


def test_source_lines() -> None:
    lines = (LineInfo(0, "/a/x.c", 3, "  int a = 1;"), LineInfo(1, "/a/x.c", 4, "return a;"))
    log = ask("r0 = 1\nexit", Facts(FILTER, lines=lines), 2).log
    assert "; int a = 1; @ x.c:3\n0: (b7) r0 = 1" in log
    assert "; return a; @ x.c:4\n1: (95) exit" in log


@pytest.mark.parametrize("insn", [
    Insn(uapi.BPF_JMP | uapi.BPF_CALL, src=uapi.BPF_PSEUDO_KFUNC_CALL, imm=7),
])
def test_what_is_missing_is_named(insn: Insn) -> None:
    program = [*assemble("r1 = r10"), insn, *assemble("r0 = 0\nexit")]
    with pytest.raises(NotSupported, match="kernel_btf"):
        verify(program, Facts(FILTER))


def test_the_unprivileged_are_not_modelled() -> None:
    with pytest.raises(NotSupported, match="unprivileged"):
        ask("r0 = 0\nexit", Facts(FILTER, caps=0))


def test_the_limit() -> None:
    text = "r0 = 0\nl: r0 += 1\nif r0 < 1000 goto l\nr0 = 0\nexit"
    verdict = verify(assemble(text), Facts(FILTER), Options(insn_limit=100))
    assert verdict.message == "BPF program is too large. Processed 101 insn"


def test_nothing_is_imported_while_verifying() -> None:
    """The time of the first program would be that of the imports."""
    code = ("import sys\n"
            "from anybpf.isa.asm import assemble\n"
            "from anybpf.verifier import Facts, verify\n"
            "before = set(sys.modules)\n"
            "text = 'call f; call bpf_get_prandom_u32; exit; f: r0 = 0; exit'\n"
            "assert verify(assemble(text.replace('; ', chr(10))), Facts(1)).accepted\n"
            "print(*(set(sys.modules) - before))\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.stdout.split() == []


def test_stack_depths() -> None:
    verdict = ask("*(u64 *)(r10 - 24) = 0\ncall f\nexit\nf: *(u8 *)(r10 - 1) = 0\nr0 = 0\nexit",
                  level=uapi.BPF_LOG_STATS)
    assert verdict.stack == (24, 8)
    assert "stack depth 24+8" in verdict.log


def test_a_policy_keeps_stores_to_registers_away() -> None:
    program, kprobe = "*(u64 *)(r1 + 0) = 0\nr0 = 0\nexit", uapi.BPF_PROG_TYPE_KPROBE
    assert ask(program, Facts(kprobe)).accepted
    verdict = ask(program, Facts(kprobe, lacks=frozenset({contexts.KPROBE_WRITE})))
    assert (verdict.errno, verdict.message) == (
        EACCES, "invalid bpf_context access off=0 size=8")
