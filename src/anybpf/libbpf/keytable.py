"""Keymaps of remote controls for infrared decoders (v4l-utils, utils/common/keymap.c).

A keymap is TOML: an array of protocols, each with the parameters of a decoder and either the codes
it decodes to or, for the decoder called raw, the pulses and spaces of each key.

>>> remote = read_keymap("dish_network.toml")[0]                    # doctest: +SKIP
>>> obj = load_decoder("pulse_distance.o", machine, remote)         # doctest: +SKIP
>>> machine.lirc_receiver(*obj.programs.values()).receive(samples)  # doctest: +SKIP
"""

from __future__ import annotations

import os
import struct
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anybpf.errors import LoadError
from anybpf.libbpf.bpf import Backend
from anybpf.libbpf.object import Object, Source

RAW_MAP = "raw_map"
#: how much darker than the longest space of any key it must stay at the end of a key, microseconds
TRAIL = 1000
DEFAULT_MARGIN = 200
MAX_LENGTH = 0xFFFF
CODE_SIZE = 4
NOT_PARAMETERS = frozenset({"name", "protocol", "variant", "scancodes", "raw"})


@dataclass(frozen=True)
class RawKey:
    """A key of a raw protocol: pulse, space, pulse ... in microseconds."""

    keycode: str
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class Protocol:
    """One protocol of a keymap; `protocol` is the decoder's name, `scancodes` names the keys.

    The scancode that a raw key decodes to is its index in `raw`.
    """

    protocol: str
    name: str = ""
    variant: str = ""
    parameters: Mapping[str, int] = field(default_factory=dict)
    scancodes: Mapping[int, str] = field(default_factory=dict)
    raw: tuple[RawKey, ...] = ()


def read_keymap(source: str | os.PathLike[str] | bytes) -> list[Protocol]:
    """The protocols of a keymap: a path, or the file's bytes. Raises LoadError, OSError."""
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    try:
        rows = tomllib.loads(data.decode()).get("protocols", [])
    except ValueError as error:
        raise LoadError(f"no TOML: {error}") from None
    if not isinstance(rows, list) or not rows:
        raise LoadError("no array of tables", "protocols")
    return [_protocol(row, f"protocols[{i}]") for i, row in enumerate(rows)]


def _protocol(row: Any, where: str) -> Protocol:
    if not isinstance(row, dict) or not isinstance(row.get("protocol"), str):
        raise LoadError("no table with a 'protocol'", where)
    parameters = {n: v for n, v in row.items() if n not in NOT_PARAMETERS and type(v) is int}
    return Protocol(row["protocol"], str(row.get("name", "")), str(row.get("variant", "")),
                    parameters, _scancodes(row.get("scancodes", {}), where),
                    tuple(_raw_key(key, where) for key in _rows(row.get("raw", []), where)))


def _rows(found: Any, where: str) -> Iterable[Any]:
    if not isinstance(found, list):
        raise LoadError("'raw' is no array", where)
    return found


def _scancodes(found: Any, where: str) -> dict[int, str]:
    if not isinstance(found, dict):
        raise LoadError("'scancodes' is no table", where)
    try:
        return {_number(code): str(key) for code, key in found.items()}
    except ValueError as error:
        raise LoadError(f"no scancode: {error}", where) from None


def _number(text: str) -> int:
    """A number as C writes it: 0x is hexadecimal, a leading 0 octal."""
    is_octal = len(text) > 1 and text[0] == "0" and text.isdigit()
    return int(text, 8 if is_octal else 0)


def _raw_key(row: Any, where: str) -> RawKey:
    try:
        lengths = tuple(abs(int(word)) for word in row["raw"].split())
        key = RawKey(str(row["keycode"]), lengths)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LoadError(f"no key of 'raw': {error!r}", where) from None
    if len(lengths) % 2 == 0 or not all(0 < us <= MAX_LENGTH for us in lengths):
        raise LoadError(f"'{key.keycode}' does not begin and end with a pulse of 16 bits", where)
    return key


def set_parameters(obj: Object, parameters: Mapping[str, int]) -> set[str]:
    """Set a decoder's variables, in whatever section, before it is loaded.

    Returns the names that the decoder does not have, which ir-keytable ignores.
    """
    homes = {name: section for section in obj.globals.values() for name in section}
    for name in parameters.keys() & homes.keys():
        homes[name][name] = parameters[name]
    return set(parameters.keys() - homes.keys())


def load_decoder(source: Source, backend: Backend, protocol: Protocol) -> Object:
    """Open, parametrise and load the decoder of a protocol. Raises as `Object.open` and `load`."""
    obj = Object.open(source)
    set_parameters(obj, protocol.parameters)
    if protocol.raw:
        _make_room(obj, protocol)
    obj.load(backend)
    for index, key in enumerate(protocol.raw):
        obj.maps[RAW_MAP].update(struct.pack("=I", index), _raw_value(obj, index, key))
    return obj


def _make_room(obj: Object, protocol: Protocol) -> None:
    """Size the map of patterns; a pattern ends with a zero, and the decoder must reach it."""
    if RAW_MAP not in obj.maps:
        raise LoadError(f"'{obj.name}' is no decoder of raw keys")
    length = max(len(key.lengths) for key in protocol.raw) + 1
    spaces = [us for key in protocol.raw for us in key.lengths[1::2]]
    trail = max(spaces, default=0) + max(TRAIL, protocol.parameters.get("margin", DEFAULT_MARGIN))
    set_parameters(obj, {"max_length": length, "trail_space": trail, **protocol.parameters})
    obj.maps[RAW_MAP].max_entries = len(protocol.raw)
    obj.maps[RAW_MAP].value_size = CODE_SIZE + 2 * length


def _raw_value(obj: Object, code: int, key: RawKey) -> bytes:
    packed = struct.pack(f"=I{len(key.lengths)}H", code, *key.lengths)
    return packed.ljust(obj.maps[RAW_MAP].value_size, b"\0")
