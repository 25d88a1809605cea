"""The tables of .BTF.ext: real ones, long records, both byte orders, broken ones."""

from __future__ import annotations

import struct

import pytest

from anybpf.btf import dedup, ext
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.graph import relink
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from unit.btf import blobs


def table(order: str, size: int, *sections: tuple[int, list[tuple[int, ...]]]) -> bytes:
    out = struct.pack(order + "I", size)
    for name, rows in sections:
        out += struct.pack(order + "2I", name, len(rows))
        out += b"".join(struct.pack(f"{order}{len(r)}I", *r).ljust(size, b"\xee") for r in rows)
    return out


def blob(order: str, funcs: bytes, lines: bytes = b"", relos: bytes = b"") -> bytes:
    sizes = [len(funcs), len(lines), len(relos)]
    layout = [0, sizes[0], sizes[0], sizes[1], sizes[0] + sizes[1], sizes[2]]
    return struct.pack(order + "HBBI6I", 0xEB9F, 1, 0, 32, *layout) + funcs + lines + relos


@pytest.mark.parametrize("order", "<>")
def test_records_of_any_size_are_read(order):
    data = blob(
        order,
        table(order, 12, (1, [(0, 5), (8, 6)]), (3, [(0, 7)])),
        table(order, 16, (1, [(0, 2, 3, 10 << 10 | 7)])),
        table(order, 20, (3, [(16, 4, 9, 2)])),
    )
    got = ext.BtfExt.parse(data)
    strings = blobs.build(t.Int("a", 4), t.Int("b", 4))
    assert got.funcs(strings, "a") == (ext.FuncInfo(0, 5), ext.FuncInfo(8, 6))
    assert got.funcs(strings, "b") == (ext.FuncInfo(0, 7),)
    assert (got.lines(strings, "a")[0].line, got.lines(strings, "a")[0].column) == (10, 7)
    assert got.relos(strings, "b") == (ext.CoreRelo(16, 4, 9, 2),)
    assert got.func_infos[0].record_size == 12
    assert len(got.func_infos[0].raw) == 24
    assert got.to_bytes() == data


def test_old_headers_have_no_relocations():
    funcs = table("<", 8, (1, [(0, 5)]))
    data = struct.pack("<HBBI4I", 0xEB9F, 1, 0, 24, 0, len(funcs), len(funcs), 0) + funcs
    assert ext.BtfExt.parse(data).core_relos == ()


def test_real_objects_name_their_functions():
    seen = 0
    for path in blobs.xdp_objects():
        data, raw = blobs.elf_section(path, ".BTF"), blobs.elf_section(path, ".BTF.ext")
        if not data or not raw:
            continue
        btf, got = Btf(data), ext.BtfExt.parse(raw, "little")
        for info in got.func_infos:
            for one in info.records:
                assert btf.expect(one.type_id, t.Func).name
                seen += 1
    assert seen > 10


@pytest.mark.parametrize("order", "<>")
def test_renumbering(order):
    data = blob(
        order,
        table(order, 12, (1, [(0, 5), (8, 6)]), (3, [(0, 7)])),
        table(order, 16, (1, [(0, 2, 3, 10 << 10 | 7)])),
        table(order, 20, (3, [(16, 4, 9, 2)])),
    )
    got = ext.BtfExt.parse(data).renumbered(lambda i: i + 100, lambda at: at * 10)
    assert [one.name_off for one in got.func_infos] == [10, 30]
    assert got.func_infos[0].records == (ext.FuncInfo(0, 105), ext.FuncInfo(8, 106))
    assert got.func_infos[0].raw.count(b"\xee" * 4) == 2
    assert got.line_infos[0].records == (ext.LineInfo(0, 20, 30, 10 << 10 | 7),)
    assert got.core_relos[0].records == (ext.CoreRelo(16, 104, 90, 2),)
    assert got.byteorder == {"<": "little", ">": "big"}[order]
    same = ext.BtfExt.parse(data).renumbered(lambda i: i, lambda at: at)
    assert same.data == data


def in_words(btf: Btf, found: ext.BtfExt) -> list[tuple[object, ...]]:
    """All that .BTF.ext says, with names instead of numbers."""
    rows: list[tuple[object, ...]] = []
    for func in found.func_infos:
        section = btf.string(func.name_off)
        rows += [(section, r.insn_off, btf.type(r.type_id).name) for r in func.records]
    for line in found.line_infos:
        rows += [(r.insn_off, btf.string(r.file_name_off), btf.string(r.line_off), r.line)
                 for r in line.records]  # fmt: skip
    for relo in found.core_relos:
        rows += [(r.insn_off, btf.type(r.type_id).name, btf.string(r.access_str_off), r.kind)
                 for r in relo.records]  # fmt: skip
    return rows


def test_it_follows_the_types_that_dedup_merges():
    for path in blobs.xdp_objects()[:3]:
        data, raw = blobs.elf_section(path, ".BTF"), blobs.elf_section(path, ".BTF.ext")
        assert data
        assert raw
        once = Btf(data)
        twice, shift = BtfBuilder.extend(once), len(once) - 1
        for _, made in once.types():
            twice.add(relink(made, lambda i, by=shift: i + by if i else 0))
        second = ext.BtfExt.parse(raw).renumbered(lambda i, by=shift: i + by, lambda at: at)
        merged = dedup.dedup(twice.build(), second)
        assert merged.ext is not None
        assert in_words(merged.btf, merged.ext) == in_words(once, ext.BtfExt.parse(raw))


def test_an_id_that_does_not_exist():
    btf = blobs.build(t.Int("a", 4))
    found = ext.BtfExt.parse(blob("<", table("<", 8, (1, [(0, 2)]))))
    with pytest.raises(LoadError, match="type id 2 does not exist") as caught:
        dedup.dedup(btf, found)
    assert caught.value.section == ".BTF.ext"
    with pytest.raises(LoadError, match="string offset 9"):
        dedup.dedup(btf, ext.BtfExt.parse(blob("<", table("<", 8, (9, [(0, 1)])))))


FUNCS = table("<", 8, (1, [(0, 5)]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x9f\xeb", "cut short"),
        (blob("<", FUNCS)[:-1], "beyond the end"),
        (blob("<", b"\x08\0\0"), "cut short"),
        (blob("<", table("<", 4)), "bad record size 4"),
        (blob("<", table("<", 10)), "bad record size 10"),
        (blob("<", table("<", 8, (1, []))), "bad record count 0"),
        (blob("<", table("<", 8) + struct.pack("<2I", 1, 0x40000000)), "bad record count"),
        (blob("<", FUNCS + b"\0\0\0\0"), "cut short"),
        (blob("<", b"", b"", table("<", 12)), "bad record size 12"),
    ],
)
def test_a_broken_table_is_one_load_error(data, message):
    with pytest.raises(LoadError, match=message) as caught:
        ext.BtfExt.parse(data)
    assert caught.value.section == ".BTF.ext"


def test_the_wrong_byte_order_is_refused():
    with pytest.raises(LoadError, match="byte order is big"):
        ext.BtfExt.parse(blob(">", b""), "little")
