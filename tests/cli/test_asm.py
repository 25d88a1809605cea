"""`anybpf asm` and `anybpf disasm`, as a user calls them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import anybpf
from anybpf.cli import cli
from anybpf.isa import build as b
from anybpf.isa.insn import encode
from objects.elfbuild import ElfBuilder

PROGRAM = """
    r0 = 1
    r1 = 0x100000000 ll
    if r0 > 3 goto out
    w0 = *(u8 *)(r10 - 1)
out:
    exit
"""
INSNS = b.program(
    b.mov64_imm(0, 1),
    b.ld_imm64(1, 1 << 32),
    b.jmp_imm(0x20, 0, 3, 1),
    b.ldx_mem(b.B, 0, 10, -1),
    b.exit_insn(),
)
FILTER = "ldh [12]\njne #0x800, drop\nret #-1\ndrop: ret #0\n"


def call(*args: str | Path, text: str | bytes = "") -> Result:
    return CliRunner().invoke(cli, [str(x) for x in args], input=text)


def object_file(tmp_path: Path) -> Path:
    elf = ElfBuilder()
    for name in ("first", "second"):
        elf.function(name, elf.code(f"xdp/{name}" if name == "second" else "xdp", INSNS), 0, 48)
    path = tmp_path / "two.o"
    path.write_bytes(elf.to_bytes())
    return path


def test_hex_has_one_slot_a_line():
    result = call("asm", text=PROGRAM)
    assert result.exit_code == 0
    assert bytes.fromhex(result.output) == encode(INSNS)
    assert result.output.splitlines()[0] == "b7 00 00 00 01 00 00 00"


def test_raw_bytes_and_both_byte_orders(tmp_path):
    for order, option in (("little", []), ("big", ["--big-endian"])):
        out = tmp_path / order
        assert call("asm", "-f", "raw", "-o", out, *option, text=PROGRAM).exit_code == 0
        assert out.read_bytes() == encode(INSNS, order)
        back = call("disasm", *option, out).output
        assert back.splitlines()[0] == "0: (b7) r0 = 1"


def test_c_initializers():
    assert call("asm", "-f", "c", text="r10 = -2").output == "{ 0xb7, 10, 0, 0, -2 },\n"


def test_source_text_comes_back():
    text = call("disasm", "-f", "source", text=encode(INSNS).hex()).output
    assert bytes.fromhex(call("asm", text=text).output) == encode(INSNS)


@pytest.mark.parametrize(
    ("fmt", "line"),
    [
        ("kernel", "4: (71) r0 = *(u8 *)(r10 -1)"),
        ("xlated", "   4: (71) r0 = *(u8 *)(r10 -1)"),
        ("llvm", "       4:\tw0 = *(u8 *)(r10 - 0x1)"),
        ("source", "    w0 = *(u8 *)(r10 - 1)"),
    ],
)
def test_formats(fmt, line):
    for data in (encode(INSNS), encode(INSNS).hex(" ").encode()):
        assert line in call("disasm", "-f", fmt, text=data).output.splitlines()


def test_hex_as_c_has_it():
    text = ", ".join(f"0x{x:02x}" for x in encode([b.exit_insn()]))
    assert call("disasm", text=text).output == "0: (95) exit\n"


def test_an_object_file_shows_every_program(tmp_path):
    path = object_file(tmp_path)
    shown = call("disasm", path).output
    assert [x for x in shown.splitlines() if x.endswith(":")] == ["first (xdp):",
                                                                  "second (xdp/second):"]
    assert "5: (95) exit" in shown
    assert call("disasm", "--prog", "first", path).output.startswith("first (xdp):\n0: (b7)")


def test_no_such_program(tmp_path):
    result = call("disasm", "--prog", "third", object_file(tmp_path))
    assert result.exit_code == 2
    assert "no program 'third': there are first, second" in result.output


def test_classic_filters():
    numbers = call("asm", "--classic", "--check", "-f", "c", text=FILTER)
    assert numbers.output.splitlines()[1] == "{ 0x15, 0, 1, 0x00000800 },"
    raw = call("asm", "--classic", "-f", "raw", text=FILTER).stdout_bytes
    for data in (numbers.output, raw):
        listing = call("disasm", "--classic", text=data).output
        assert listing.splitlines()[1] == "(001) jeq      #0x800           jt 2\tjf 3"
    assert call("asm", "--classic", text="ret #0").output == "06 00 00 00 00 00 00 00\n"


@pytest.mark.parametrize(
    ("args", "text", "code", "message"),
    [
        (["asm"], "exit\nhello", 2, "Error: line 2: not an instruction: hello"),
        (["asm", "--check"], "r0 /= 0; exit", 1, "Error: div by zero"),
        (["asm", "--check"], "goto +5", 1, "Error: jump out of range from insn 0 to 6"),
        (["asm", "--classic"], "jmp up", 2, "Error: line 1: undefined label up"),
        (["asm", "--classic", "--check"], "tax", 1, "Error: classic insn 0: the last instruction"),
        (["asm"], b"\xff\xfe", 2, "not a text file"),
        (["disasm"], b"\x95\0\0", 2, "truncated instruction"),
        (["disasm"], b"\x7fELF", 2, "Error: "),
        (["disasm", "--classic"], b"\x95\0\0", 2, "truncated classic instruction"),
        (["disasm", "/no/such/file"], "", 2, "No such file"),
    ],
)
def test_mistakes(args, text, code, message):
    result = call(*args, text=text)
    assert message in result.output
    assert result.exit_code == code
    assert "Traceback" not in result.output


def test_as_a_process():
    command = [sys.executable, "-m", "anybpf", "asm", "-"]
    path = {"PYTHONPATH": str(Path(anybpf.__file__).parents[1])}
    made = subprocess.run(command, input="exit", capture_output=True, text=True, check=False,
                          env=os.environ | path)
    assert (made.returncode, made.stdout, made.stderr) == (0, "95 00 00 00 00 00 00 00\n", "")
