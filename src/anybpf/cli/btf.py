"""`anybpf btf`: types as C or record by record (tools/bpf/bpftool/btf.c)."""

from __future__ import annotations

import json
from pathlib import Path

import click

from anybpf.btf import dump as c_dump
from anybpf.btf import kernel, raw
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from anybpf.toolchain import is_source, object_bytes, vmlinux


@click.group("btf")
def btf() -> None:
    """Show the types that a kernel, an object or a BTF file has."""


@btf.command("dump")
@click.argument("file", metavar="FILE|vmlinux")
@click.option("-f", "--format", "fmt", type=click.Choice(["c", "raw"]), default="raw",
              show_default=True, help="A header in C, or one record after another.")
@click.option("--base", metavar="FILE", help="The BTF that a module's is on top of.")
@click.option("--for", "source", metavar="FILE.bpf.c", type=click.Path(exists=True, dir_okay=False),
              help="Only the types that this source needs (with -f c).")
@click.option("-I", "folders", metavar="DIR", multiple=True,
              help="With --for: search DIR for headers of the source.")
@click.option("--json", "as_json", is_flag=True, help="Records as bpftool's JSON (with -f raw).")
def dump(file: str, fmt: str, base: str | None, source: str | None, folders: tuple[str, ...],
         as_json: bool) -> None:
    """Print the types in FILE, or the running kernel's (`vmlinux`).

    FILE is BTF, an object file, a C source, a vmlinux, or a compressed kernel image.
    """
    if source and fmt != "c":
        raise click.UsageError("--for is for --format c")
    if as_json and fmt != "raw":
        raise click.UsageError("--json is for --format raw")
    types = load(file, load(base) if base else None)
    if source:
        click.echo(vmlinux.slim(types, Path(source), list(map(Path, folders))), nl=False)
    elif as_json:
        click.echo(json.dumps({"types": raw.describe_all(types)}))
    else:
        click.echo((c_dump.dump_c if fmt == "c" else raw.dump_raw)(types), nl=False)


def load(name: str, base: Btf | None = None) -> Btf:
    """What the word on the command line means: a file, or the running kernel or its module."""
    if is_source(name):
        return kernel.from_bytes(object_bytes(name), base)
    if Path(name).is_file():
        return kernel.load(name, base)
    if name == "vmlinux":
        return kernel.load_vmlinux()
    if (kernel.SYSFS / name).is_file():
        return kernel.load_module(name, base or kernel.load_vmlinux())
    raise LoadError(f"no such file: {name}")
