"""Everything that can be done with BTF, done to bytes that may be anything.

`exercise` is what the fuzzers call: it lets typed errors pass and nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from anybpf.btf import btf_relocate, check, dedup, dump, fields, raw, sanitize, show, values
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.ext import BtfExt
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from unit.btf import blobs

#: what a user of broken BTF has to expect
TYPED = (LoadError, check.BadBtf, fields.BadFields, values.ValueMismatch)
#: values are read from so many bytes
VALUE = bytes(range(1, 65))


def _each(work: Callable[[Btf, int], object]) -> Callable[[Btf], None]:
    """Do it to the first types; what is wrong with one does not save the next."""

    def each(btf: Btf) -> None:
        for type_id in list(btf.ids())[:16]:
            attempt(lambda one=type_id: work(btf, one))  # type: ignore[misc]

    return each


def _round_trip(btf: Btf) -> None:
    """What can be read can be written, and is then the same."""
    types = [one for _, one in btf.types()]
    builder = BtfBuilder(btf.byteorder)
    try:
        builder.add_all(types)
    except ValueError:
        return  # NUL or numbers that only a broken record can hold
    assert [one for _, one in builder.build().types()] == types


def _split(btf: Btf) -> None:
    split = Btf(BtfBuilder(btf.byteorder, btf).to_bytes(), btf)
    assert list(split.ids()) == []
    made = BtfBuilder(btf.byteorder, btf)
    made.add_all(t.Ptr(i) for i in range(min(len(btf), 40)))
    distilled = btf_relocate.distill(made.build())
    btf_relocate.relocate(distilled.split, btf)


WORK: tuple[Callable[[Btf], object], ...] = (
    lambda btf: [btf.find(one.name) for _, one in btf.types()],
    _round_trip,
    raw.dump_raw,
    dump.dump_c,
    dedup.dedup,
    _split,
    lambda btf: sanitize.sanitize(btf, ()),
    fields.check_fields,
    _each(lambda btf, i: fields.parse_fields(btf, i, fields.Finder(btf, fields.MAP_VALUE))),
    _each(lambda btf, i: dump.declaration(btf, i, "x")),
    _each(lambda btf, i: values.encode(btf, i, values.decode(btf, i, VALUE))),
    _each(lambda btf, i: values.json_value(btf, i, VALUE)),
    _each(lambda btf, i: show.snprintf_btf(btf, i, VALUE)),
)


def attempt(work: Callable[[], object]) -> None:
    try:
        work()
    except TYPED as e:
        assert str(e)  # noqa: PT017


def exercise(data: bytes) -> None:
    """Read the bytes as .BTF.ext and as .BTF, and use what comes of it."""
    attempt(lambda: BtfExt.parse(data).renumbered(lambda i: i, lambda at: at))
    attempt(lambda: check.check(data))
    try:
        btf = Btf(data)
    except LoadError as e:
        assert e.section == ".BTF"  # noqa: PT017
        assert e.offset is not None  # noqa: PT017
        return
    for work in WORK:
        attempt(lambda one=work: one(btf))  # type: ignore[misc]


def seeds() -> list[bytes]:
    """Good blobs to begin with, in both byte orders, and a .BTF.ext."""
    order = BtfBuilder("big")
    order.add_all(blobs.every_kind())
    table = struct.pack("<5I", 8, 1, 1, 0, 1)
    head = struct.pack("<HBBI6I", 0xEB9F, 1, 0, 32, 0, len(table), len(table), 0, len(table), 0)
    return [blobs.build(*blobs.every_kind()).data, order.to_bytes(), head + table]
