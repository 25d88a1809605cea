"""Map contents as JSON: what `--map NAME=FILE` reads and `run` prints.

A file is a list of `{"key": ..., "value": ...}` as `bpftool map dump --json` gives with BTF, or one
object `{key: value}`. Keys and values are decoded by the map's BTF; without BTF they are hex text
or lists of bytes. A dotted quad stands for the four bytes of an IPv4 address.
"""

from __future__ import annotations

import ipaddress
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from anybpf.cli import files
from anybpf.errors import LoadError


def read(path: str) -> list[tuple[Any, Any]]:
    """The (key, value) pairs in the JSON file at `path`. Raises LoadError on other JSON."""
    data = files.read(path)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{path}: not JSON: {error}") from None
    return [(plain(key), plain(value)) for key, value in pairs(document, path)]


def pairs(document: Any, path: str) -> Iterator[tuple[Any, Any]]:
    if isinstance(document, dict):
        yield from document.items()
        return
    if not isinstance(document, list):
        raise LoadError(f"{path}: neither a list of key/value objects nor one object")
    for item in document:
        if not isinstance(item, dict) or not {"key", "value"} <= item.keys():
            raise LoadError(f"{path}: an entry has no 'key' or no 'value': {item!r}")
        entry = item.get("formatted", item)
        yield entry["key"], entry["value"]


def plain(item: Any) -> Any:
    """JSON to what a map takes: numbers in text, addresses and lists of hex bytes made exact."""
    if isinstance(item, str):
        return from_text(item)
    if isinstance(item, list) and item and all(is_hex_byte(x) for x in item):
        return bytes(int(x, 16) for x in item)
    if isinstance(item, list):
        return [plain(x) for x in item]
    if isinstance(item, dict):
        return {name: plain(x) for name, x in item.items()}
    return item


def is_hex_byte(item: Any) -> bool:
    return isinstance(item, str) and item.startswith("0x") and len(item) <= 4


def from_text(text: str) -> Any:
    if text.count(".") == 3 and text.replace(".", "").isdigit():
        return address(text)
    try:
        return int(text, 0)
    except ValueError:
        return text


def address(text: str) -> int:
    """The four bytes of an IPv4 address as the u32 that holds them in memory."""
    try:
        return int.from_bytes(ipaddress.IPv4Address(text).packed, "little")
    except ValueError as error:
        raise LoadError(f"not an IPv4 address: {text} ({error})") from None


def printable(item: Any) -> Any:
    """A decoded key or value as JSON can hold it: bytes become hex text, nan and inf words."""
    if isinstance(item, float) and not math.isfinite(item):
        return str(item)
    if isinstance(item, bytes | bytearray | memoryview):
        return bytes(item).hex()
    if isinstance(item, Mapping):
        return {str(name): printable(x) for name, x in item.items()}
    if isinstance(item, list | tuple):
        return [printable(x) for x in item]
    return item
