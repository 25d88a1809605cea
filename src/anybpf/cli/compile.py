"""`anybpf compile`: a C source to a BPF object (clang -target bpf)."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from anybpf.toolchain import compile_file, headers, is_source, vmlinux
from anybpf.toolchain.compile import MACHINES, TARGET_ARCH

ARCHES = list(dict.fromkeys(name for _, name in MACHINES))


@click.command("compile")
@click.argument("source", metavar="FILE.bpf.c", type=click.Path(exists=True, dir_okay=False))
@click.argument("options", metavar="[-- OPTIONS]", nargs=-1, type=click.UNPROCESSED)
@click.option("-o", "--output", metavar="OUT", type=click.Path(dir_okay=False, writable=True),
              help="The object file (default: FILE.bpf.o in the working directory).")
@click.option("--target", type=click.Choice(["bpfel", "bpfeb"]), default="bpfel",
              show_default=True, help="Byte order: little or big.")
@click.option("--cpu", type=click.Choice(["v1", "v2", "v3", "v4"]), default="v3",
              show_default=True, help="The instructions that may be used.")
@click.option("--arch", type=click.Choice(ARCHES),
              help="Whose registers bpf_tracing.h means (default: this machine's).")
@click.option("--btf", metavar="FILE",
              help="The kernel whose vmlinux.h the source gets: BTF, vmlinux or vmlinuz "
                   "(default: the running one).")
@click.option("--headers", "prefer", type=click.Choice(get_args(headers.Prefer)), default="auto",
              show_default=True,
              help="Whose <bpf/*.h>: anybpf's own, the system's libbpf's, or (auto) the system's "
                   "if that libbpf is not older than what anybpf's headers follow.")
@click.option("-I", "folders", metavar="DIR", multiple=True, help="Search DIR for headers.")
@click.option("-D", "defines", metavar="NAME[=VALUE]", multiple=True, help="Define a macro.")
def compile(source: str, options: tuple[str, ...], output: str | None, target: str, cpu: str,
            arch: str | None, btf: str | None, prefer: headers.Prefer, folders: tuple[str, ...],
            defines: tuple[str, ...]) -> None:
    """Compile a C source to a BPF object with BTF.

    Uses clang (or the one that ANYBPF_CLANG names), else the ziglang package. The source may
    include <bpf/bpf_helpers.h>, <bpf/bpf_tracing.h>, <bpf/bpf_core_read.h>, <bpf/bpf_endian.h>
    and "vmlinux.h". OPTIONS after -- go to the compiler. Its messages and its exit status are
    passed on.
    """
    if not is_source(source):
        raise click.UsageError(f"not a C source: the name {source} does not end in .c")
    if output and is_source(output):
        raise click.UsageError(f"{output} is the name of a C source")
    compile_file(
        source, output or Path(source).with_suffix(".o").name, arch=target, cpu=cpu,
        options=[*(f"-I{x}" for x in folders), *(f"-D{x}" for x in defines),
                 *([TARGET_ARCH + arch] if arch else []), *options],
        prefer=prefer, btf=vmlinux.load(btf) if btf else None,
        warn=lambda said: click.echo(said, err=True, nl=False))
