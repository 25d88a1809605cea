"""The `anybpf` command: one module a verb, imported only when the verb is used.

Results go to standard output, `Error: ...` to standard error. Exit codes: 0 done, 1 the kernel
(or the program) said no, 2 the words or a file were wrong; a compiler's own if it failed.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from anybpf import __version__
from anybpf.errors import BpfError, Fault, LoadError, NotSupported, VerifierError

#: verb -> (module, one line for --help)
VERBS = {
    "run": ("run", "Load an object and run one of its programs on packets."),
    "verify": ("verify", "Say what the kernel's verifier says of each program of an object."),
    "inspect": ("inspect", "Show what an object holds: programs, maps, globals, BTF, sections."),
    "core": ("core", "Show what kernels' BTF makes of an object's CO-RE relocations, and why."),
    "compile": ("compile", "Compile a C source to a BPF object."),
    "btf": ("btf", "Show types: of a kernel, an object or a BTF file, as C or record by record."),
    "asm": ("asm", "Assemble BPF text into instruction bytes."),
    "disasm": ("disasm", "Print instructions as the kernel's verifier log and bpftool do."),
}

#: exception -> exit code; the first that matches
EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (LoadError, 2),
    (BpfError, 1),
    (Fault, 1),
    (NotSupported, 1),
    (OSError, 2),
)


class Verbs(click.Group):
    """A click group that imports a verb's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"anybpf.cli.{VERBS[cmd_name][0]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, text) for verb, (_, text) in VERBS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise                    # `anybpf ... | head`: main() ends quietly
        except tuple(kind for kind, _ in EXIT_CODES) as error:
            if ctx.params.get("debug"):
                raise
            output = getattr(error, "output", "")       # a compiler's own words, as they are
            click.echo(output or f"Error: {describe(error)}", err=True, nl=not output)
            ctx.exit(exit_code(error))


def describe(error: BaseException) -> str:
    """For the user: what happened, with the error's name where the kernel has one."""
    if isinstance(error, VerifierError):
        return refusal(error)
    if isinstance(error, BpfError):
        return f"{error.strerror} ({error.name})"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or ''}: {error.strerror}".removeprefix(": ")
    return "\n".join((str(error), *getattr(error, "__notes__", ())))


def refusal(error: VerifierError) -> str:
    """The verifier's last words, and which verb shows all of them."""
    head, _, words = str(error.strerror).partition("\n")
    words = words.replace(" more lines in .log)", " more lines: anybpf verify --log-level 1)")
    return f"{head.removesuffix(':')} ({error.name}):\n{words}"


def exit_code(error: BaseException) -> int:
    if hasattr(error, "output"):
        return int(getattr(error, "status", 1))
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="anybpf",
                      message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """The Linux BPF subsystem on any machine: load, verify, run and test BPF programs."""


def main() -> None:
    """Entry point of the `anybpf` script."""
    if sys.stdin is None:           # closed: nothing to read
        sys.stdin = open(os.devnull)  # noqa: SIM115 - for the whole process
    try:
        cli(prog_name="anybpf")
        sys.stdout.flush()
    except BrokenPipeError:
        quiet_exit()
    except OSError as error:        # standard output itself, such as a full disk
        quiet_exit()
        click.echo(f"Error: {describe(error)}", err=True)
        sys.exit(exit_code(error))


def quiet_exit() -> None:
    """Nothing may be flushed at exit any more: the reader has what it wanted, or cannot have it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
