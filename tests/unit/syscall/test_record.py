"""Structs by field names."""

from __future__ import annotations

from anybpf.syscall.record import Record, fields
from anybpf.uapi_structs import STRUCTS


def test_numbers_and_bytes() -> None:
    record = Record("bpf_map_info", b"\2\0\0\0")
    record["map_extra"] = 1 << 63
    record["name"] = b"abc"
    assert (record["type"], record["map_extra"]) == (2, 1 << 63)
    assert record.bytes[24:40] == b"abc".ljust(16, b"\0")
    assert len(record.bytes) == STRUCTS["bpf_map_info"].size


def test_longer_data_is_cut() -> None:
    assert len(Record("bpf_btf_info", bytes(100)).bytes) == 32


def test_every_struct_that_crosses_bpf_2_has_known_fields() -> None:
    for name in ("bpf_attr", "bpf_prog_info", "bpf_map_info", "bpf_btf_info"):
        for field, (start, end, _) in fields(name).items():
            assert 0 <= start < end <= STRUCTS[name].size, field
