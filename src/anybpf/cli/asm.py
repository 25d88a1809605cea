"""`anybpf asm`: BPF text to instruction bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO

import click

from anybpf.cli import files
from anybpf.errors import LoadError
from anybpf.isa import asm as assembler
from anybpf.isa import cbpf, cbpf_asm, check
from anybpf.isa.insn import ByteOrder, Insn, encode


def _hex(insns: Sequence[Insn], byteorder: ByteOrder) -> bytes:
    """One slot a line, two digits a byte."""
    lines = (encode([insn], byteorder).hex(" ") for insn in insns)
    return "".join(line + "\n" for line in lines).encode()


def _c(insns: Sequence[Insn], byteorder: ByteOrder) -> bytes:
    """Initializers of struct bpf_insn."""
    rows = (
        f"{{ 0x{i.code:02x}, {i.dst}, {i.src}, {i.off}, {i.imm} }},\n" for i in insns
    )
    return "".join(rows).encode()


#: format -> bytes to print
FORMATS: dict[str, Callable[[Sequence[Insn], ByteOrder], bytes]] = {
    "hex": _hex,
    "raw": encode,
    "c": _c,
}


def _classic_hex(insns: Sequence[cbpf.SockFilter], byteorder: ByteOrder) -> bytes:
    lines = (cbpf.encode([insn], byteorder).hex(" ") for insn in insns)
    return "".join(line + "\n" for line in lines).encode()


def _classic_c(insns: Sequence[cbpf.SockFilter], byteorder: ByteOrder) -> bytes:
    """Initializers of struct sock_filter, as `tcpdump -dd` prints them."""
    rows = (f"{{ {i.code:#x}, {i.jt}, {i.jf}, 0x{i.k:08x} }},\n" for i in insns)
    return "".join(rows).encode()


CLASSIC_FORMATS: dict[str, Callable[[Sequence[cbpf.SockFilter], ByteOrder], bytes]] = {
    "hex": _classic_hex,
    "raw": cbpf.encode,
    "c": _classic_c,
}


def _assemble(text: str, fmt: str, byteorder: ByteOrder, verify: bool) -> bytes:
    insns = assembler.assemble(text)
    if verify:
        check.check_insns(insns)
    return FORMATS[fmt](insns, byteorder)


def _assemble_classic(text: str, fmt: str, byteorder: ByteOrder, verify: bool) -> bytes:
    filter_ = cbpf_asm.assemble(text)
    if verify:
        cbpf.check(filter_)
    return CLASSIC_FORMATS[fmt](filter_, byteorder)


def read_text(file: IO[bytes]) -> str:
    """All of a text file; raises LoadError where it is no UTF-8."""
    try:
        return files.read_all(file).decode()
    except UnicodeDecodeError as error:
        raise LoadError("not a text file", offset=error.start) from None


@click.command("asm")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("-o", "--output", type=click.File("wb", lazy=True), default="-",
              help="Where to write; standard output by default.")
@click.option("-f", "--format", "fmt", type=click.Choice(list(FORMATS)), default="hex",
              show_default=True, help="hex: a slot a line; raw: bytes; c: initializers.")
@click.option("--big-endian", is_flag=True, help="Bytes for a big-endian machine.")
@click.option("--classic", is_flag=True, help="The text is classic BPF, as bpf_asm reads it.")
@click.option("--check/--no-check", "verify", default=False,
              help="Refuse what the kernel refuses for its shape.")
def asm(file: IO[bytes], output: IO[bytes], fmt: str, big_endian: bool, classic: bool,
        verify: bool) -> None:
    """Assemble FILE (standard input by default) into instruction bytes.

    The syntax is that of clang and llvm-objdump, one statement a line or parted by `;`:

    \b
        r0 = *(u32 *)(r1 + 4)
        if w0 s> 7 goto out
        lock *(u64 *)(r1 + 8) += r0
    out:
        exit
    """
    work = _assemble_classic if classic else _assemble
    output.write(work(read_text(file), fmt, "big" if big_endian else "little", verify))
