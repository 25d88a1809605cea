"""Every case in this directory on every engine, and on the running kernel.

A case is a file of sections, as the public bpf_conformance suite has them: `-- asm` (in clang's
syntax), `-- mem` (what r1 points to, in hex), and either `-- result` (r0, 64 bits) or `-- error`
(a part of the error's text). `-- byte order` marks results that hold for one byte order only.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from anybpf import conformance, uapi
from anybpf.errors import Fault, LoadError
from anybpf.isa import build as b
from anybpf.isa import opcodes as tab
from anybpf.isa.asm import assemble
from anybpf.isa.insn import Insn, encode, slots
from objects.elfbuild import ElfBuilder
from unit.isa import host

CASES = sorted(Path(__file__).parent.glob("*.data"))
#: relocation of a call
R_BPF_64_32 = 10
ERRORS = [path for path in CASES if path.stem.startswith("error")]
RESULTS = [path for path in CASES if path not in ERRORS]
ENGINES = ["semantics", "interpreter", "unchecked"]


@pytest.fixture(autouse=True)
def small_budget(monkeypatch):
    monkeypatch.setattr(conformance, "BUDGET", 100_000)


class Case(NamedTuple):
    insns: list[Insn]
    memory: str
    result: int | None
    error: str


def read(path: Path) -> Case:
    parts = re.split(r"^-- (.*)\n", path.read_text(), flags=re.MULTILINE)[1:]
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    assert sections.keys() <= {"asm", "mem", "result", "error", "byte order"}, path
    if sections.get("byte order", sys.byteorder).strip() != sys.byteorder:
        pytest.skip(f"the result is that of a {sections['byte order'].strip()}-endian machine")
    result = int(sections["result"], 16) if "result" in sections else None
    insns = assemble(sections["asm"])
    return Case(insns, sections.get("mem", ""), result, sections.get("error", "").strip())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path, engine):
    case = read(path)
    program = encode(case.insns).hex()
    if case.result is None:
        with pytest.raises(Fault):
            conformance.execute(program, case.memory, engine=engine)
    else:
        assert conformance.execute(program, case.memory, engine=engine) == case.result


@pytest.mark.parametrize("path", ERRORS, ids=lambda path: path.stem)
def test_the_error_says_what_happened(path):
    case = read(path)
    with pytest.raises(Fault, match=case.error) as caught:
        conformance.execute(encode(case.insns).hex(), case.memory)
    assert case.insns[caught.value.insn].code


def as_subprogram(case: Case, upper: bool) -> list[Insn]:
    """The case as a function with a stack of its own, called with its memory on the caller's."""
    memory = bytes.fromhex(case.memory)
    padded = memory + bytes(-len(memory) % 8)
    base = -len(padded)
    fill = [
        insn
        for i in range(0, len(padded), 4)
        for insn in [b.st_mem(b.W, 10, base + i, int.from_bytes(padded[i : i + 4], sys.byteorder))]
    ]
    point = [b.mov64_reg(1, 10), b.alu64_imm(uapi.BPF_ADD, 1, base)] if memory else []
    shift = [b.alu64_imm(uapi.BPF_RSH, 0, 32)] if upper else []
    call = b.call_rel(len(shift) + 1)
    return b.program(
        fill, point, b.mov64_imm(2, len(memory)), call, shift, b.exit_insn(), case.insns
    )


@pytest.mark.kernel
@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_the_kernel_agrees(path, linux):
    case = read(path)
    halves = [host.result(linux, as_subprogram(case, upper)) for upper in (False, True)]
    assert halves[1] << 32 | halves[0] == case.result


def variant(insn: Insn) -> tuple[int, ...]:
    """What tells apart the instructions of one opcode."""
    if insn.cls == uapi.BPF_STX and insn.mode == uapi.BPF_ATOMIC:
        return insn.code, insn.imm
    if insn.cls in (uapi.BPF_ALU, uapi.BPF_ALU64):
        return insn.code, insn.imm if insn.op == uapi.BPF_END else insn.off
    return insn.code, insn.src if insn.code == uapi.BPF_JMP | uapi.BPF_CALL else 0


def all_variants() -> set[tuple[int, ...]]:
    """Every instruction but the legacy packet loads, kernel functions, and casts of arenas."""
    found: set[tuple[int, ...]] = set()
    for code in tab.OPCODES:
        insn = Insn(code)
        if insn.cls == uapi.BPF_LD and code != 0x18:
            continue
        if insn.cls == uapi.BPF_STX and insn.mode == uapi.BPF_ATOMIC:
            wide = insn.size in (uapi.BPF_W, uapi.BPF_DW)
            ops = tab.ATOMICS if wide else tab.ATOMICS - tab.ATOMIC_RMW
            found |= {(code, op) for op in ops}
        elif code in tab.END_NAMES:
            found |= {(code, bits) for bits in tab.END_BITS}
        elif insn.cls in (uapi.BPF_ALU, uapi.BPF_ALU64):
            found |= {(code, off) for off in alu_offsets(insn)}
        else:
            found.add((code, 0))
    return found | {(uapi.BPF_JMP | uapi.BPF_CALL, uapi.BPF_PSEUDO_CALL)}


def alu_offsets(insn: Insn) -> set[int]:
    if insn.op == uapi.BPF_MOV and insn.uses_reg:
        return {0, 8, 16, 32} if insn.cls == uapi.BPF_ALU64 else {0, 8, 16}
    return {0, 1} if insn.op in tab.DIVISIONS else {0}


def test_the_cases_cover_every_instruction():
    seen = {variant(insn) for path in CASES for _, insn in slots(read(path).insns)}
    assert all_variants() - seen == set()


def plugin(monkeypatch, capsys, program: str, *args: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "stdin", io.StringIO(program))
    code = conformance.main(list(args))
    streams = capsys.readouterr()
    return code, streams.out, streams.err


LOAD = "71 10 01 00  00 00 00 00 \n 95 00 00 00 00 00 00 00 "


def test_the_plugin_contract(monkeypatch, capsys):
    assert plugin(monkeypatch, capsys, LOAD, "aa  bb  ", "") == (0, "bb\n", "")
    assert plugin(monkeypatch, capsys, LOAD, "aabb", "--engine semantics") == (0, "bb\n", "")


@pytest.mark.parametrize("engine", ENGINES)
def test_the_plugin_reports_faults(monkeypatch, capsys, engine):
    code, out, err = plugin(monkeypatch, capsys, LOAD, "aa", "--engine", engine)
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert "insn" in err or "instruction" in err


@pytest.mark.parametrize(
    ("program", "args"),
    [("zz", ()), ("", ()), ("95", ()), (LOAD, ("xy",)), (LOAD, ("--elf",)), ("8d" + "00" * 7, ())],
)
def test_the_plugin_refuses_nonsense(monkeypatch, capsys, program, args):
    code, out, err = plugin(monkeypatch, capsys, program, *args)
    assert (code, out, err[:7]) == (1, "", "Error: ")


def test_hex_in_any_spacing():
    assert conformance.parse_hex(" 0a0B  0c\n") == b"\x0a\x0b\x0c"
    with pytest.raises(LoadError):
        conformance.parse_hex("0a0")


def object_of(section: str, insns: list[Insn], *more: tuple[str, int, int]) -> ElfBuilder:
    """An object with one section of code and functions (name, first slot, slots) in it."""
    elf = ElfBuilder()
    code = elf.code(section, insns)
    for name, start, count in more:
        elf.function(name, code, 8 * start, 8 * count)
    return elf


@pytest.mark.parametrize("section", [".text", "xdp", "a_name_of_its_own"])
def test_an_object_file_in_hex(section):
    program = object_of(section, assemble("r0 = 7; exit"), ("main", 0, 2)).to_bytes()
    assert conformance.execute(program.hex(), elf=True) == 7


def test_functions_of_an_object_are_linked():
    program = object_of("xdp", assemble("call pc-1; r0 += 1; exit"), ("main", 0, 3))
    text = program.code(".text", assemble("r0 = 7; exit"))
    called = program.function("f", text, 0, 16)
    program.relocate(1, (0, called, R_BPF_64_32))
    assert conformance.execute(program.to_bytes().hex(), elf=True) == 8


def test_an_object_without_programs():
    with pytest.raises(LoadError, match="no program"):
        conformance.execute(object_of(".text", []).to_bytes().hex(), elf=True)
