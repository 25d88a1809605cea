"""Write docs/support.md: what the kernel offers, row by row, and what anybpf models of it.

usage: gen_support.py > docs/support.md      (after the native build)
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from anybpf import helpers as native
from anybpf import maps as native_maps
from anybpf.net.test_run import _RUNNERS
from anybpf.proto import access, attach, features, helpers, kfuncs, links, maps, progs

HEAD = """# What is modelled

Generated from the tables of `anybpf.proto` by `tools/gen_support.py`. *Modelled* says that a
`Machine` has it; the rest is refused by name (`NotSupported`). Versions are those of Linux.
"""


def table(title: str, columns: str, rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """The lines of a Markdown section with one table."""
    names = columns.split(" | ")
    yield from ("", f"## {title}", "", f"| {columns} |", "|" + "---|" * len(names))
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def yes(modelled: bool) -> str:
    """The cell of a yes-or-no column."""
    return "yes" if modelled else ""


def program_types() -> Iterator[tuple[str, ...]]:
    """Each program type with its context, helpers, and whether a test run takes it."""
    for prog in progs.PROGS:
        callable_ = sum(prog.type in access.callers(h.id) for h in helpers.HELPERS)
        yield (f"`{prog.name}`", prog.since, f"`{prog.context}`" if prog.context else "by BTF",
               str(callable_), yes(prog.type in _RUNNERS))


def map_types() -> Iterator[tuple[str, ...]]:
    """Each map type."""
    for row in maps.MAPS:
        yield f"`{row.name}`", row.since, row.holds, yes(native_maps.is_supported(row.type))


def helper_functions() -> Iterator[tuple[str, ...]]:
    """Each helper with the number of program types that may call it."""
    modelled = native.addresses()
    for row in helpers.HELPERS:
        # the engines do a tail call themselves
        has = row.id in modelled or row.name == "tail_call"
        yield (str(row.id), f"`{row.symbol}`", row.since, "GPL" if row.gpl else "",
               str(len(access.callers(row.id))), yes(has))


def attach_types() -> Iterator[tuple[str, ...]]:
    """Each attach type with its programs and its link."""
    for row in attach.ATTACH_TYPES:
        types = " ".join(f"`{progs.BY_TYPE[t].name}`" for t in row.prog_types)
        since = f"{row.link} ({links.BY_NAME[row.link].since})" if row.link else ""
        yield f"`{row.name}`", row.since, types, since


def kernel_functions() -> Iterator[tuple[str, ...]]:
    """Each kfunc."""
    for row in kfuncs.KFUNCS:
        yield f"`{row.name}`", row.since, f"`{row.ret}`", str(len(row.args))


def page() -> Iterator[str]:
    """The lines of the page."""
    yield HEAD.rstrip()
    yield from table("Program types", "type | since | context | helpers | test run modelled",
                     program_types())
    yield from table("Map types", "type | since | holds | modelled", map_types())
    yield from table("Helpers", "id | helper | since | licence | program types | modelled",
                     helper_functions())
    yield from table("Attach types", "type | since | programs | link (since)", attach_types())
    yield from table("Commands", "command | since",
                     ((f"`{name}`", since) for name, since in features.COMMANDS.items()))
    yield from table("Kernel functions", "kfunc | since | returns | arguments",
                     kernel_functions())


if __name__ == "__main__":
    sys.stdout.write("\n".join(page()) + "\n")
