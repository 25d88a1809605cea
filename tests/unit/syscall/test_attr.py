"""Unions in and out: sizes, tails, answers."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.syscall.attr import FIELDS, LAST_FIELD, SIZE, Attr


def test_reads_fields_of_a_short_union_as_zeros_beyond() -> None:
    attr = Attr(bytes([2, 0, 0, 0, 4]))
    assert (attr["map_type"], attr["key_size"], attr["max_entries"]) == (2, 4, 0)


def test_signed_fields_are_signed() -> None:
    buffer = bytearray(SIZE)
    buffer[76:80] = b"\xff" * 4
    assert Attr(buffer)["map_token_fd"] == -1


def test_answers_go_into_the_callers_buffer_and_not_into_the_copy() -> None:
    buffer = bytearray(SIZE)
    attr = Attr(buffer)
    attr["next_id"] = 7
    assert buffer[4:8] == b"\7\0\0\0"
    assert attr["next_id"] == 0


@pytest.mark.parametrize("buffer", [bytes(SIZE), bytearray(6)])
def test_answers_without_room_are_dropped(buffer: bytes | bytearray) -> None:
    before = bytes(buffer)
    Attr(buffer)["next_id"] = 7
    assert bytes(buffer) == before


@pytest.mark.parametrize("buffer", [
    bytes(SIZE) + b"\1", bytes(4097), bytes(SIZE + 100) + b"\1"])
def test_unknown_bits_are_too_big(buffer: bytes) -> None:
    with pytest.raises(BpfError) as caught:
        Attr(buffer)
    assert caught.value.name == "E2BIG"


@pytest.mark.parametrize("cmd", [c for c, last in LAST_FIELD.items() if FIELDS[last].end < SIZE])
def test_check_refuses_the_byte_behind_the_last_field(cmd: int) -> None:
    buffer = bytearray(SIZE)
    Attr(buffer).check(cmd)
    buffer[FIELDS[LAST_FIELD[cmd]].end] = 1
    with pytest.raises(BpfError) as caught:
        Attr(buffer).check(cmd)
    assert caught.value.name == "EINVAL"


def test_raw_and_has_room() -> None:
    buffer = bytearray(44)
    buffer[28:31] = b"abc"
    attr = Attr(buffer)
    assert attr.raw("map_name") == b"abc".ljust(16, b"\0")
    assert attr.has_room("map_name")
    assert not attr.has_room("map_ifindex")


def test_ctypes_buffers_work() -> None:
    import ctypes

    buffer = ctypes.create_string_buffer(SIZE)
    Attr(buffer)["next_id"] = 9
    assert buffer.raw[4] == 9
    assert uapi.BPF_MAP_CREATE in LAST_FIELD
