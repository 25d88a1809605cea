"""docs/support.md is what the code says: every row of the tables with its state, none forgotten."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from anybpf import helpers as native
from anybpf.proto import attach, features, helpers, kfuncs, maps, progs

ROOT = Path(__file__).resolve().parents[2]
STATES = ("works", "not yet: ", "verified only; running waits for ")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """tools/gen_support.py as a module."""
    spec = importlib.util.spec_from_file_location("gen_support", ROOT / "tools/gen_support.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(tool: ModuleType) -> None:
    written = (ROOT / "docs/support.md").read_text()
    assert written == tool.page(), "run: python tools/gen_support.py > docs/support.md"


@pytest.mark.parametrize(("section", "names"), [
    ("program_types", [f"`{row.name}`" for row in progs.PROGS]),
    ("map_types", [f"`{row.name}`" for row in maps.MAPS]),
    ("helper_functions", [str(row.id) for row in helpers.HELPERS]),
    ("attach_types", [f"`{row.name}`" for row in attach.ATTACH_TYPES]),
    ("commands", [f"`{name}`" for name in features.COMMANDS]),
    ("kernel_functions", [f"`{row.name}`" for row in kfuncs.KFUNCS]),
])
def test_every_row_works_or_says_what_it_waits_for(tool: ModuleType, section: str,
                                                   names: list[str]) -> None:
    rows: Callable[[], Iterator[tuple[str, ...]]] = getattr(tool, section)
    found = list(rows())
    assert [row[0] for row in found] == names
    assert all(row[-1].startswith(STATES) for row in found)
    assert not any(row[-1] in STATES[1:] for row in found)


def test_no_reason_is_out_of_date(tool: ModuleType) -> None:
    named = {row.name: row for row in helpers.HELPERS}
    for name, reason in tool.WAITS_FOR.items():
        assert tool.helper_state(named[name]) == tool.verified(reason), name
    for name in tool.MAP_WAITS_FOR:
        assert tool.map_state(maps.BY_NAME[name]) == f"not yet: {tool.MAP_WAITS_FOR[name]}"


def test_a_helper_that_is_registered_works(tool: ModuleType) -> None:
    working = {row.id for row in helpers.HELPERS if tool.helper_state(row) == "works"}
    assert set(native.addresses()) < working
    assert {helpers.BY_ID[n].name for n in working - set(native.addresses())} == {"tail_call"}
