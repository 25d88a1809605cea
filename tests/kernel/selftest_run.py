r"""All of the kernel's selftests before our verifier and one kernel's; the outcomes as JSON.

    PYTHONPATH=tests:tools ANYBPF_KERNEL=guest python -m kernel.selftest_run outcomes.json \
        [--missing host.json] [--only PATTERN] [--tree NAME] [--limit N] [--jobs N]

`--missing` takes only those programs that another kernel did not bring to its verifier.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import oracle
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError, LoadError, NotSupported
from anybpf.libbpf.kernel_btf import KernelBtf
from anybpf.libbpf.object import Object
from anybpf.toolchain import CompileError
from conftest import embedded, package_files
from guest.backend import Guest
from guest.remote import GuestDied
from kernel import selftest_module
from kernel.both_verifiers import MODULE_KFUNCS, MODULE_OPS, MODULE_TYPES, Both, module_types
from kernel.selftest_compare import TOO_LONG, Outcome, compare
from kernel.selftest_progs import Source, compiled, outcomes, sources
from kernel.selftest_sources import Tree, trees
from kernel.selftest_tables import Replay, Table, tables
from kernel.selftest_targets import OLDER_NAMES
from kernel.verdicts import GUEST, kernel_btf

FOLDER = Path("build/selftests")
CHUNK = 40
#: what is said of sources that the guest's kernel does not survive
DEADLY = "not judged: a fault of the guest's kernel, which stops its process"
#: stands for all programs of an object that was not made
ALL = "*"
#: what stands in the place of a tree for Debian's package
TOOLS = "libbpf-tools"


class Wanted(NamedTuple):
    """Which programs to compare; `programs` None: all of those whose sources match."""

    programs: frozenset[tuple[str, str, str]] | None = None
    pattern: str = ""

    def program(self, tree: str, source: str, name: str) -> bool:
        if self.programs is None:
            return True
        return not self.programs.isdisjoint({(tree, source, name), (tree, source, ALL)})

    def source(self, tree: str, source: str) -> bool:
        if self.pattern and not re.search(self.pattern, source):
            return False
        return self.programs is None or any(p[:2] == (tree, source) for p in self.programs)


def table_outcomes(tree: str, limit: int, tests: Sequence[Table]) -> list[Outcome]:
    """Some tests of the tables."""
    made = []
    for test in tests:
        both = Both()
        replay = Replay(both, kernel_btf())
        try:
            made.append(compare(both, test.file, test.name, replay.attr(test), limit))
        except BpfError as error:
            made.append(Outcome(test.file, test.name, "", crash=f"not made: {error}"))
        finally:
            replay.close()
    return [replace(one, tree=tree, tables=True) for one in made]


def object_outcomes(tree: Tree, limit: int, wanted: Wanted, source: Path) -> list[Outcome]:
    """Programs of a C file."""
    return [replace(one, tree=tree.name) for one in _of_object(tree, limit, wanted, source)]


def _of_object(tree: Tree, limit: int, wanted: Wanted, source: Path) -> list[Outcome]:
    def find(name: str) -> Path:
        place = source.with_stem(name)
        if not place.exists():
            place = source.with_stem(OLDER_NAMES.get(name, name))
        return compiled(tree, place, FOLDER / tree.name)

    try:
        given = Source(_readable(tree, source), source.stem, find)
        return list(outcomes(given, limit, partial(wanted.program, tree.name, source.stem)))
    except CompileError as error:
        return [Outcome(source.stem, ALL, "", crash=f"not compiled: {_short(error)}")]
    except (LoadError, NotSupported) as error:
        return [Outcome(source.stem, ALL, "", crash=f"not read: {_short(error)}")]
    except GuestDied:
        return [Outcome(source.stem, ALL, "", crash=DEADLY)]
    except Exception as error:                        # a fault of ours hides no other object
        return [Outcome(source.stem, ALL, "", crash=f"{type(error).__name__}: {error}")]


def _readable(tree: Tree, source: Path) -> Path:
    """The object of a source: with the guest's types if it uses what the host's lack."""
    path = compiled(tree, source, FOLDER / tree.name)
    try:
        Object.open(path).close()
    except LoadError:
        return compiled(tree, source, FOLDER / tree.name, richer=True)
    return path


def _short(error: Exception) -> str:
    return str(error).splitlines()[0].rsplit("error: ", 1)[-1][:120]


def chunks(tests: Iterable[Table]) -> Iterator[list[Table]]:
    left = iter(tests)
    while some := list(islice(left, CHUNK)):
        yield some


Map = Callable[[Callable[[Any], list[Outcome]], Iterable[Any]], Iterator[list[Outcome]]]


@contextmanager
def workers(jobs: int) -> Iterator[Map]:
    """A `map` of several processes; a guest has one client, this process."""
    if GUEST is not None:
        yield map
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield pool.map


def run(tree: Tree, limit: int, wanted: Wanted, each: Map) -> Iterator[Outcome]:
    """Both kinds of a tree's selftests."""
    bring_module(tree)
    tests = [test for test in tables(tree, FOLDER / f"tables-{tree.name}")
             if wanted.source(tree.name, test.file)
             and wanted.program(tree.name, test.file, test.name)]
    yield from chain.from_iterable(each(partial(table_outcomes, tree.name, limit), chunks(tests)))
    paths = [path for path in sources(tree) if wanted.source(tree.name, path.stem)]
    yield from chain.from_iterable(each(partial(object_outcomes, tree, limit, wanted), paths))


def run_tools(limit: int, wanted: Wanted, each: Map) -> Iterator[Outcome]:
    """The programs that Debian's libbpf-tools carry."""
    folder = FOLDER / TOOLS
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in embedded(package_files("libbpf-tools", "/sbin/")):
        (folder / f"{name}.o").write_bytes(data)
    paths = [path for path in sorted(folder.glob("*.o")) if wanted.source(TOOLS, path.stem)]
    yield from chain.from_iterable(each(partial(tool_outcomes, limit, wanted), paths))


def tool_outcomes(limit: int, wanted: Wanted, path: Path) -> list[Outcome]:
    """Programs of a tool."""
    given = Source(path, path.stem, lambda name: path.with_stem(name))
    found = outcomes(given, limit, partial(wanted.program, TOOLS, path.stem))
    return [replace(one, tree=TOOLS) for one in found]


def bring_module(tree: Tree) -> None:
    """The test module of the tree into the guest, if it is the guest that is asked."""
    if GUEST is None:
        return
    owner = selftest_module.owner(tree, trees())
    try:
        made = selftest_module.load(GUEST, owner, FOLDER / f"module-{owner.name}")
    except (subprocess.CalledProcessError, BpfError) as error:
        print(f"no test module: {error}")
        return
    for rows, more in ((MODULE_KFUNCS, made.kfuncs), (MODULE_OPS, made.struct_ops)):
        rows.clear()
        rows.update(more)
    MODULE_TYPES[:] = _modules_types(GUEST)


def _modules_types(guest: Guest) -> Iterator[Btf]:
    """Those of all modules that are there."""
    known = KernelBtf(guest)
    yield from [module_types(guest, known.fd_of(one)) for one in known.modules]
    known.close()


class Run(NamedTuple):
    """What came out with one kernel."""

    release: str
    outcomes: list[Outcome]

    @classmethod
    def read(cls, path: Path) -> Run:
        found = json.loads(path.read_text())
        return cls(found["release"], [Outcome(**row) for row in found["outcomes"]])

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [one.row() for one in self.outcomes]
        path.write_text(json.dumps({"release": self.release, "outcomes": rows}, indent=0))


def release() -> str:
    """The version of the kernel that is asked, without what its builder calls it."""
    return (GUEST.release if GUEST is not None else platform.release()).partition("-")[0]


def missing(path: Path) -> frozenset[tuple[str, str, str]]:
    """The programs that did not come to a kernel's verifier."""
    return frozenset((o.tree, o.source, o.name) for o in Run.read(path).outcomes if not o.asked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--missing", type=Path)
    parser.add_argument("--only", default="", help="sources whose names match")
    parser.add_argument("--tree", default="")
    parser.add_argument("--limit", type=int, default=TOO_LONG)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    wanted = Wanted(missing(given.missing) if given.missing else None, given.only)
    with workers(given.jobs) as each:
        runs: list[Callable[[int, Wanted, Map], Iterator[Outcome]]] = [
            partial(run, tree) for tree in trees() if given.tree in ("", tree.name)]
        if given.tree in ("", TOOLS):
            runs.append(run_tools)
        found = [told(replace(one, oracle=oracle.chosen())) for each_run in runs
                 for one in each_run(given.limit, wanted, each)]
    Run(release(), found).write(given.output)


def told(one: Outcome) -> Outcome:
    """Print what differs, as it comes."""
    if one.difference or (one.crash and one.asked):
        print(one.tree, one.source, one.name, one.kernel, one.ours or "-",
              one.difference or one.crash, flush=True)
    return one


if __name__ == "__main__":
    main()
