"""Map files: the JSON forms that `--map` takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anybpf.cli import mapfile
from anybpf.errors import LoadError


def read(tmp_path: Path, document: Any) -> list[tuple[Any, Any]]:
    path = tmp_path / "map.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return mapfile.read(str(path))


def test_list_of_entries(tmp_path: Path) -> None:
    assert read(tmp_path, [{"key": 1, "value": {"a": 2}}]) == [(1, {"a": 2})]


def test_object_with_text_keys(tmp_path: Path) -> None:
    assert read(tmp_path, {"7": 1, "0x10": [1, 2]}) == [(7, 1), (16, [1, 2])]


def test_addresses_become_network_order_words(tmp_path: Path) -> None:
    assert read(tmp_path, {"10.0.0.7": 1}) == [(0x0700000A, 1)]


def test_bpftool_dump(tmp_path: Path) -> None:
    dumped = {"key": ["0x01", "0x00"], "value": ["0x02"], "formatted": {"key": 1, "value": 2}}
    assert read(tmp_path, [dumped]) == [(1, 2)]
    del dumped["formatted"]
    assert read(tmp_path, [dumped]) == [(b"\x01\x00", b"\x02")]


@pytest.mark.parametrize(("document", "message"), [
    ("{", "not JSON"), ("3", "neither a list"), ('[{"key": 1}]', "no 'value'"),
    ('{"300.0.0.1": 1}', "not an IPv4 address")])
def test_other_json(tmp_path: Path, document: str, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        read(tmp_path, document)


def test_printable() -> None:
    assert mapfile.printable({"a": [b"\x01\xff", (1, None)]}) == {"a": ["01ff", [1, None]]}
    assert mapfile.printable([1.5, float("nan"), float("-inf")]) == [1.5, "nan", "-inf"]


def test_endless_nesting(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_text("[" * 100_000)
    with pytest.raises(LoadError, match=r"map\.json: not JSON"):
        mapfile.read(str(path))
