"""`anybpf disasm`: instructions as the kernel's verifier log and bpftool write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING

import click

from anybpf.cli import files
from anybpf.errors import LoadError
from anybpf.isa import cbpf, cbpf_asm, llvm
from anybpf.isa import disasm as kernel
from anybpf.isa.insn import ByteOrder, Insn, decode, slots

if TYPE_CHECKING:
    from anybpf.libbpf.spec import Linked

ELF_MAGIC = b"\x7fELF"
_HEX_TEXT = re.compile(rb"(?:0[xX])?[0-9a-fA-F]{2}(?:[\s,]*(?:0[xX])?[0-9a-fA-F]{2})*[\s,]*")
_TEXT = re.compile(rb"[\x09-\x0d\x20-\x7e]+")

Printer = Callable[[Sequence[Insn]], Iterator[str]]


def _objdump(insns: Sequence[Insn]) -> Iterator[str]:
    """As llvm-objdump, with hexadecimal numbers and the slot's index."""
    for index, insn in slots(insns):
        hi = insns[index + 1] if index + 1 < len(insns) else None
        yield f"{index:8}:\t{llvm.text(insn, hi, hexadecimal=True) or '<unknown>'}"


#: formats with one line for each instruction
LISTINGS: dict[str, Printer] = {
    "kernel": kernel.disasm,
    "xlated": kernel.xlated,
    "llvm": _objdump,
}
FORMATS: dict[str, Printer] = {**LISTINGS, "source": llvm.source}


def program_bytes(data: bytes) -> bytes:
    """The instructions' bytes, whether `data` holds them or hex digits of them."""
    stripped = data.strip()
    if not _HEX_TEXT.fullmatch(stripped):
        return data
    digits = re.sub(rb"0[xX]|[\s,]", b"", stripped)
    return bytes.fromhex(digits.decode())


def contents(file: IO[bytes]) -> bytes:
    """What is in the file; of a C source what it compiles to."""
    name = getattr(file, "name", "")
    return files.object_bytes(name) if files.is_source(name) else files.read_all(file)


def _object_lines(data: bytes, name: str | None, fmt: str) -> Iterator[str]:
    """Every program of an object file (or the one of that name) under a heading."""
    from anybpf.libbpf.read import read_object

    programs = read_object(data).programs
    if name is not None and name not in programs:
        raise LoadError(f"no program '{name}': there are {', '.join(programs) or 'none'}")
    for program in programs.values() if name is None else [programs[name]]:
        yield f"{program.name} ({program.section}):"
        yield from _program_lines(program.linked, fmt)
        yield ""


def _program_lines(linked: Linked, fmt: str) -> Iterator[str]:
    """The program; a listing also names the functions, and what the loader will fill in."""
    lines = FORMATS[fmt](linked.instructions)
    if fmt not in LISTINGS:
        yield from lines
        return
    waiting = {ref.insn: f"{ref.kind} {ref.target}" for ref in linked.references}
    for (index, _), line in zip(slots(linked.instructions), lines, strict=True):
        if index and index in linked.functions:
            yield f"{linked.functions[index]}:"
        yield f"{line:<40} ; {waiting[index]}" if index in waiting else line


def _classic(data: bytes, byteorder: ByteOrder) -> Iterator[str]:
    """Bytes, or any text of numbers that tcpdump, tc or C has."""
    if _TEXT.fullmatch(data):
        return cbpf_asm.disasm(cbpf.parse_numbers(data.decode("ascii")))
    return cbpf_asm.disasm(cbpf.decode(data, byteorder))


@click.command("disasm")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--prog", "name", help="Of an object file, only this program.")
@click.option("-f", "--format", "fmt", type=click.Choice(list(FORMATS)), default="kernel",
              show_default=True,
              help="kernel: the verifier's log; xlated: bpftool prog dump xlated; llvm: "
                   "llvm-objdump; source: what `anybpf asm` turns into the same bytes.")
@click.option("--big-endian", is_flag=True, help="The bytes are of a big-endian machine.")
@click.option("--classic", is_flag=True, help="The input is a classic filter: bytes or numbers.")
def disasm(file: IO[bytes], name: str | None, fmt: str, big_endian: bool, classic: bool) -> None:
    """Print the instructions in FILE: an object file, a C source, bytes, or hex digits."""
    data = contents(file)
    byteorder: ByteOrder = "big" if big_endian else "little"
    if classic:
        lines = _classic(data, byteorder)
    elif data.startswith(ELF_MAGIC):
        lines = _object_lines(data, name, fmt)
    else:
        lines = FORMATS[fmt](decode(program_bytes(data), byteorder))
    for line in lines:
        click.echo(line)
