"""A sample of the kernel's selftests, put before both verifiers (`make compare-selftests`: all)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from anybpf import toolchain
from anybpf.btf.parse import Btf
from anybpf.linux import Linux
from kernel.both_verifiers import Both
from kernel.selftest_compare import Outcome, compare
from kernel.selftest_progs import Source, compiled, outcomes
from kernel.selftest_run import bring_module
from kernel.selftest_sources import ABSENT, Tree, trees
from kernel.selftest_tables import Replay, tables
from kernel.verdicts import GUEST, kernel_btf

#: one in so many tests of the tables
STEP = 25
#: C programs that need nothing which is missing, and are small
PROGRAMS = ("verifier_spill_fill", "verifier_cfg", "verifier_ldsx")
#: what needs the selftests' own kernel module
WITH_MODULE = ("kfunc_call_fail", "iters_testmod_seq")
LIMIT = 3000

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def tree() -> Tree:
    reason = Linux.probe()
    if reason:
        pytest.skip(reason)
    found = trees()
    if not found:
        pytest.skip(ABSENT)
    return found[-1]


def differences(found: Iterator[Outcome]) -> tuple[int, list[Outcome]]:
    """How many were compared, and those that are not the same in everything."""
    compared = [o for o in found if o.ours]
    return len(compared), [o for o in compared if o.difference]


def sample(tree: Tree, folder: pytest.TempPathFactory, vmlinux: Btf) -> Iterator[Outcome]:
    for test in islice(tables(tree, folder.mktemp("tables")), 0, None, STEP):
        both = Both()
        replay = Replay(both, vmlinux)
        yield compare(both, test.file, test.name, replay.attr(test), LIMIT)
        replay.close()


def test_tables(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile the tables with")
    compared, different = differences(sample(tree, tmp_path_factory, kernel_btf()))
    assert compared > 10
    assert not different


def object_outcomes(tree: Tree, folder: Path, name: str) -> list[Outcome]:
    """What came out for the programs of a source."""
    source = tree.selftests / "progs" / f"{name}.c"
    if not source.exists():
        pytest.skip(f"the selftests of {tree.name} have no {source.name}")
    if toolchain.find_compiler() is None:
        pytest.skip("no clang and no ziglang package installed")

    def find(other: str) -> Path:
        return compiled(tree, source.with_stem(other), folder)

    return list(outcomes(Source(find(name), name, find), LIMIT))


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(tree: Tree, tmp_path: Path, name: str) -> None:
    compared, different = differences(iter(object_outcomes(tree, tmp_path, name)))
    assert compared > 3
    assert not different


@pytest.mark.parametrize("name", WITH_MODULE)
def test_programs_that_need_the_module(tree: Tree, tmp_path: Path, name: str) -> None:
    if GUEST is None:
        pytest.skip("asks the guest's kernel: run with --kernel guest")
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to build the module with")
    bring_module(tree)
    compared, different = differences(iter(object_outcomes(tree, tmp_path, name)))
    assert compared > 3
    assert not different
