"""Values as `bpftool map dump` prints them (tools/bpf/bpftool/btf_dumper.c).

bpftool's rules: integers in decimal, bitfields and 128-bit numbers as hex text, enums by name, char
arrays as text only where a NUL ends printable ASCII, anonymous members under the empty name.
Where bpftool gives up (floating point) the number is shown.
"""

from __future__ import annotations

import json
import math

from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.btf.walk import Walker, is_text


def json_value(btf: Btf, type_id: int, data: bytes) -> object:
    """What bpftool's JSON shows for the value: dicts, lists, str, int, float, bool.

    Raises LoadError if `data` is shorter than the type, or the type has no values.
    """
    return Dumper(btf, bytes(data)).value(type_id)


def format_value(btf: Btf, type_id: int, data: bytes) -> str:
    """The value in one line: bpftool's JSON with a space after commas and colons."""
    return json.dumps(json_value(btf, type_id, data), ensure_ascii=False)


class Dumper(Walker):
    """Leaves in bpftool's JSON."""

    def ints(self, element: t.Int, raw: bytes) -> object:
        if is_text(element):
            body, nul, _ = raw.partition(b"\0")
            if nul and all(0x1F < c < 0x7F for c in body):
                return body.decode("ascii")
        return list(self.unpack(element, raw))

    def int_leaf(self, made: t.Int, value: int) -> object:
        if made.size == 16:
            return hex(value & (1 << 128) - 1)
        return bool(value) if made.is_bool else value

    def enum_leaf(self, made: t.AnyEnum, value: int) -> object:
        return made.name_of(value) or value

    def bitfield(self, made: t.Type, value: int, width: int) -> object:
        return hex(value & (1 << width) - 1)

    def floating(self, made: t.Float, at: int) -> object:
        value = super().floating(made, at)
        if isinstance(value, bytes):
            return value.hex()
        return value if isinstance(value, float) and math.isfinite(value) else str(value)

    def datasec(self, made: t.Datasec, at: int) -> object:
        variables = super().datasec(made, at)
        assert isinstance(variables, dict)
        return {made.name: [{name: value} for name, value in variables.items()]}
