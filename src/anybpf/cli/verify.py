"""`anybpf verify`: the verifier's verdict on each program of an object (veristat.c)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from anybpf.cli import files
from anybpf.cli.inspect import printable, table
from anybpf.errors import reading

if TYPE_CHECKING:
    from anybpf.btf.parse import Btf
    from anybpf.libbpf.object import Object
    from anybpf.libbpf.offline import Host
    from anybpf.veristat import Result

HEAD = ("program", "verdict", "insns", "states", "time")
#: columns of numbers
RIGHT = frozenset({2, 3, 4})
COLOURS = {"accept": "green", "reject": "red", "unsupported": "yellow", "load-error": "red"}


@click.command()
@click.argument("obj", metavar="OBJ", type=click.Path(exists=True, dir_okay=False))
@click.option("--prog", metavar="NAME", help="Only this program.")
@click.option("--log-level", metavar="N", type=click.IntRange(0, 7), default=0, show_default=True,
              help="The verifier's log: 1 what a refusal needs, 2 every instruction, "
                   "4 statistics; bits that may be added.")
@click.option("--btf", metavar="FILE", help="The kernel's types (default: the running kernel's, "
                                            "else the few built in).")
@click.option("--attach-prog", metavar="OBJ:NAME", default=None,
              help="The program, of this or another object, that extensions (freplace) replace a "
                   "function of, or whose functions are traced.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list, with all numbers; "
                                              "the log if --log-level asks for it.")
def verify(obj: str, prog: str | None, log_level: int, btf: str | None, attach_prog: str | None,
           as_json: bool) -> None:
    """Say what the kernel's verifier says of each program of OBJ, an object file or a C source.

    Nothing is loaded and no kernel is needed. For each program: the verdict, how many instructions
    the verifier looked at, how many states it kept, and the time it took; for a refused one the
    source line and the kernel's message. Exit code 1: not all programs are accepted.
    """
    results = verified(obj, prog, log_level, btf, attach_prog)
    if as_json:
        click.echo(json.dumps([described(r, log_level) for r in results], indent=2))
    else:
        show(results, log_level)
    if not all(r.accepted for r in results):
        raise click.exceptions.Exit(1)


def verified(path: str, prog: str | None, log_level: int, btf: str | None,
             attach_prog: str | None = None) -> list[Result]:
    """The results for the file at `path`."""
    from anybpf.veristat import verify

    opened = _opened(path, prog)
    target = _target(attach_prog) if attach_prog is not None else None
    types, host = kernel(btf)
    return verify(opened, program=prog, log_level=log_level, btf=types, host=host,
                  cpus=possible_cpus(), attach_prog=target)


def _opened(path: str, prog: str | None) -> Object:
    """The object, which has the program that is asked for."""
    from anybpf.libbpf.object import Object
    from anybpf.libbpf.read import object_name_of

    data = files.object_bytes(path)
    with reading(path):
        opened = Object.open(data, name=object_name_of(path))
    if prog is not None and prog not in opened.programs:
        names = ", ".join(opened.programs) or "none"
        raise click.UsageError(f"no program '{prog}'; the object has: {names}")
    return opened


def _target(word: str) -> tuple[Object, str]:
    """The object and program that `OBJ:NAME` means."""
    path, colon, name = word.rpartition(":")
    if not colon or not os.path.isfile(path):
        raise click.UsageError(f"--attach-prog is OBJ:NAME, an object and its program: {word}")
    return _opened(path, name), name


def kernel(choice: str | None) -> tuple[Btf, Host | None]:
    """The types to verify against, and the running kernel where they are its own."""
    from anybpf.btf.kernel import load_vmlinux_or_builtin
    from anybpf.cli.btf import load
    from anybpf.linux import Linux

    if choice is not None:
        return load(choice), None
    try:
        host = Linux()
    except OSError:
        host = None
    return load_vmlinux_or_builtin(lambda text: click.echo(text, err=True)), host


def possible_cpus() -> int:
    """How many CPUs the kernel may have: this machine's."""
    from anybpf.linux.syscall import possible_cpus

    return possible_cpus()


def described(result: Result, log_level: int) -> dict[str, Any]:
    """One program's object of the JSON list."""
    facts = result._asdict()
    del facts["source"]
    if not log_level:
        del facts["log"]
    return facts


# -- text


def show(results: Sequence[Result], log_level: int) -> None:
    """A line for each program, with what there is to say of it below; coloured on a terminal."""
    if not results:
        click.echo("no programs")
        return
    rows = [HEAD, *(cells(r) for r in results)]
    head, *lines = aligned(rows)
    click.echo(head)
    for result, line in zip(results, lines, strict=True):
        click.echo(coloured(printable(line), result.verdict))
        for more in details(result, log_level):
            click.echo(printable(more))


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows as text, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return table([[cell.rjust(widths[i]) if i in RIGHT else cell for i, cell in enumerate(row)]
                  for row in rows])


def coloured(line: str, verdict: str) -> str:
    if not sys.stdout.isatty():
        return line
    return line.replace(f" {verdict}", " " + click.style(verdict, fg=COLOURS[verdict]), 1)


def cells(result: Result) -> list[str]:
    verdict = f"{result.verdict} {result.errno}" if result.errno else result.verdict
    if not result.processed:
        return [result.program, verdict, "-", "-", "-"]
    return [result.program, verdict, f"{result.processed:,}", f"{result.total_states:,}",
            time_text(result.time_us)]


def time_text(microseconds: int) -> str:
    """A time with three digits or so."""
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= size:
            return f"{microseconds / size:.3g} {unit}"
    return f"{microseconds} us"


def details(result: Result, log_level: int) -> Iterator[str]:
    """The source line, the message, and the log that was asked for."""
    for text in (result.source, *result.message.splitlines()):
        if text:
            yield f"    {text}"
    if log_level and result.log:
        yield from result.log.splitlines()
