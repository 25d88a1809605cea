"""The command line of the guest: `python tools/guest --help`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from anybpf.errors import BpfError, LoadError
from anybpf.toolchain import CompileError
from guest import modules, rows, verdicts, vm
from guest.backend import Guest
from guest.initramfs import NoGuest

LOAD_LEVELS = click.IntRange(0, 7)


def place() -> vm.Place:
    """Where this user's guest is."""
    return vm.default_place()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A kernel in a guest, to be asked what the running one refuses to answer."""


@main.command()
def start() -> None:
    """Boot the guest and leave it running for later commands and tests."""
    with vm.locked(place()):
        if not place().pid:
            vm.start(place(), stay=True)
    click.echo(f"{place().release_file.read_text()} runs as process {place().pid}")


@main.command()
def stop() -> None:
    """End the guest that `start` left running."""
    vm.stop(place())


@main.command()
def status() -> None:
    """Say whether a guest runs, and the end of what it printed."""
    pid = place().pid
    click.echo(f"runs as process {pid}" if pid else "does not run")
    click.echo(vm.last_lines(place()))


@main.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--module", help="That of a module, which is loaded for it.")
def btf(target: Path, module: str | None) -> None:
    """Write the guest kernel's BTF to a file."""
    guest = Guest()
    if module:
        modules.Modules(guest.kernel).load(guest.there, module)
        target.write_bytes(guest.there.read_file(f"/sys/kernel/btf/{modules.plain(module)}"))
    else:
        target.write_bytes(guest.kernel_btf())


@main.command()
@click.argument("path")
def read(path: str) -> None:
    """Print a file of the guest, such as /proc/kallsyms."""
    click.echo(Guest().there.read_file(path), nl=False)


@main.command()
@click.argument("names", nargs=-1)
def modprobe(names: tuple[str, ...]) -> None:
    """Load modules with what they depend on; without names: list what there is."""
    guest = Guest()
    known = modules.Modules(guest.kernel)
    for name in names:
        click.echo(" ".join(known.load(guest.there, name)))
    if not names:
        click.echo("\n".join(known.names))


@main.command()
@click.argument("objects", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--log", is_flag=True, help="Print the verifier's logs, too.")
@click.option("--level", type=LOAD_LEVELS, default=1, help="The logs' level.", show_default=True)
def load(objects: tuple[str, ...], log: bool, level: int) -> None:
    """Load each program of each object (or C source) by itself and say the guest's verdict."""
    guest = Guest()
    for path in objects:
        for said in verdicts.Programs(guest, path).ask_all(level):
            click.echo(f"{path}: {said.program} ({said.section}): {said.verdict}")
            if log or said.verdict != "OK":
                click.echo(said.log.rstrip())


@main.command("rows")
def compare_rows() -> None:
    """Helpers and kfuncs that the guest has and proto has no row for, and the other way round."""
    for title, names in rows.differences(Guest()):
        click.echo(f"{title}: {len(names)}")
        for name in names:
            click.echo(f"  {name}")


def run() -> None:
    """The command line; trouble in one line."""
    try:
        main()
    except (NoGuest, BpfError, LoadError, CompileError, OSError) as e:
        sys.exit(f"guest: {e}")
    except KeyError as e:
        sys.exit(f"guest: there is no {e.args[0]}")
