"""Lines that programs print, and the format language."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.machine import Machine
from kernel.runs import run
from kernel.test_helpers import FORMATS, printk, snprintf
from kernel.test_test_run import Case


def printed(text: bytes, *args: int) -> list[str]:
    with Machine() as machine:
        run(machine, Case(uapi.BPF_PROG_TYPE_XDP, printk(text, args)))
        return [line.text for line in machine.take_trace()]


def test_a_line_is_captured() -> None:
    assert printed(b"value %d of %s\n", 42, 0) == ["value 42 of \n"]


@pytest.mark.parametrize("text", [b"%z", b"%d %d %d %d", b"\x01", b"%"])
def test_a_bad_format_prints_nothing(text: bytes) -> None:
    assert printed(text, 1, 2, 3) == []


@pytest.mark.parametrize(("fmt", "args", "text"), [
    (b"%d|%5d|%-5d|%05d|%+d", (1, 2, 3, 4, 5), b"1|    2|3    |00004|+5"),
    (b"%x %X %u %lld", (-1, 255, -1, -5), b"ffffffff FF 4294967295 -5"),
    (b"%s,%8s|%-4s|", (b"a", b"b", b"c"), b"a,       b|c   |"),
    (b"%c%c %%", (65, 66), b"AB %"),
    (b"%px %pK", (0x1234, 0), b"0000000000001234 0000000000000000"),
    (b"%pI4 %pi4", (b"\x0a\0\xc8\3", b"\x0a\0\xc8\3"), b"10.0.200.3 010.000.200.003"),
    (b"%pI6", (bytes(range(16)),), b"0001:0203:0405:0607:0809:0a0b:0c0d:0e0f"),
])
def test_snprintf(fmt: bytes, args: tuple[int | bytes, ...], text: bytes) -> None:
    with Machine() as machine:
        outcome = run(machine, snprintf(fmt, args, 200))
    value = outcome.values[0]
    assert isinstance(value, bytes)
    assert value.split(b"\0")[0] == text
    assert outcome.retval == len(text) + 1


@pytest.mark.parametrize(("fmt", "args"), FORMATS)
def test_text_is_cut_where_the_room_ends(fmt: bytes, args: tuple[int | bytes, ...]) -> None:
    with Machine() as machine:
        whole, cut = (run(machine, snprintf(fmt, args, size)) for size in (200, 4))
    assert whole.retval == cut.retval
    if whole.retval < 1 << 31:
        assert isinstance(whole.values[0], bytes)
        assert isinstance(cut.values[0], bytes)
        assert cut.values[0].ljust(200, b"\0")[:3] == whole.values[0][:3]
        assert cut.values[0][3] == 0


def test_the_same_pointer_prints_the_same() -> None:
    first, second = printed(b"%p %p %p", 0x1000, 0x1000, 0x2000)[0].split()[::2]
    assert first != second
    assert len(first) == 16
