"""Keymaps of remote controls: what is read, and what is refused."""

from __future__ import annotations

import pytest

from anybpf.errors import BpfError, LoadError
from anybpf.isa.insn import Insn
from anybpf.libbpf import Object
from anybpf.libbpf import elf as e
from anybpf.libbpf.keytable import Protocol, RawKey, load_decoder, read_keymap, set_parameters
from anybpf.machine import Machine
from objects.elfbuild import ALLOC_WRITE, EXIT, MOV, ElfBuilder

LD64, HI = Insn(0x18, 1), Insn(0)

KEYMAP = b"""
[[protocols]]
name = "two in one"
protocol = "pulse_distance"
variant = "odd"
bits = 24
note = "no parameter"
[protocols.scancodes]
0x1f = "KEY_UP"
010 = "KEY_DOWN"
9 = "KEY_OK"

[[protocols]]
protocol = "raw"
margin = 100
[[protocols.raw]]
keycode = "KEY_A"
raw = "+100 -2500 300"
"""


def raw_decoder() -> bytes:
    """An object with a map of patterns and variables in two sections."""
    made = ElfBuilder()
    code = made.code("lirc_mode2/raw", [LD64, HI, LD64, HI, MOV, EXIT])
    maps = made.section("lirc_mode2/maps", b"".join(n.to_bytes(4, "little") for n in
                                                    (2, 4, 4, 1024, 0, 0, 0)), flags=ALLOC_WRITE)
    data = made.section(".data", bytes(12), flags=ALLOC_WRITE)
    other = made.section(".data.cold", bytes(4), flags=ALLOC_WRITE)
    made.function("bpf_decoder", code, 0, 48)
    made.symbol("raw_map", maps, 0, 28)
    names = [made.symbol(n, data, 4 * i, 4) for i, n in
             enumerate(("max_length", "trail_space", "margin"))]
    made.relocate(code, (0, names[0], e.R_BPF_64_64),
                  (16, made.symbol("cold", other, 0, 4), e.R_BPF_64_64))
    return made.to_bytes()


def number(obj: Object, section: str, name: str) -> int:
    return int.from_bytes(obj.globals[section][name], "little")


def test_read_keymap() -> None:
    first, second = read_keymap(KEYMAP)
    assert first == Protocol("pulse_distance", "two in one", "odd", {"bits": 24},
                             {0x1F: "KEY_UP", 8: "KEY_DOWN", 9: "KEY_OK"})
    assert second == Protocol("raw", parameters={"margin": 100},
                              raw=(RawKey("KEY_A", (100, 2500, 300)),))


@pytest.mark.parametrize(("text", "message"), [
    (b"a = [", "no TOML"),
    (b"\xff", "no TOML"),
    (b"", "section 'protocols': no array"),
    (b"protocols = 1", "section 'protocols': no array"),
    (b"protocols = [1]", r"section 'protocols\[0\]': no table"),
    (b"[[protocols]]\nname = 'x'", "no table with a 'protocol'"),
    (b"[[protocols]]\nprotocol = 'x'\nscancodes = 3", "no table"),
    (b"[[protocols]]\nprotocol = 'x'\n[protocols.scancodes]\nup = 'KEY_UP'", "no scancode"),
    (b"[[protocols]]\nprotocol = 'x'\nraw = 3", "no array"),
    (b"[[protocols]]\nprotocol = 'x'\nraw = [3]", "no key"),
    (b"[[protocols]]\nprotocol = 'x'\nraw = [{keycode = 'A', raw = '1 x 3'}]", "no key"),
    (b"[[protocols]]\nprotocol = 'x'\nraw = [{keycode = 'A', raw = '1 2'}]", "end with a pulse"),
    (b"[[protocols]]\nprotocol = 'x'\nraw = [{keycode = 'A', raw = '70000'}]", "16 bits"),
])
def test_bad_keymaps(text: bytes, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        read_keymap(text)


def test_set_parameters() -> None:
    obj = Object.open(raw_decoder())
    assert set_parameters(obj, {"margin": 7, "cold": -2, "none": 1}) == {"none"}
    assert number(obj, "data", "margin") == 7
    assert obj.globals["data_cold"]["cold"] == b"\xfe\xff\xff\xff"


def test_patterns_size_the_map() -> None:
    keys = (RawKey("A", (100, 2500, 300)), RawKey("B", (1, 2, 3, 4, 5)))
    obj = load_decoder(raw_decoder(), Machine(), Protocol("raw", raw=keys))
    made = obj.maps["raw_map"]
    assert (made.max_entries, made.value_size) == (2, 4 + 2 * 6)
    assert [number(obj, "data", n) for n in ("max_length", "trail_space")] == [6, 3500]
    zero = (0).to_bytes(4, "little")
    assert made.lookup(zero) == bytes.fromhex("00000000 6400 c409 2c01 0000 0000 0000")
    with pytest.raises(BpfError) as caught:
        made.value_size = 8
    assert caught.value.name == "EBUSY"


def test_parameters_go_before_what_the_patterns_ask_for() -> None:
    remote = Protocol("raw", parameters={"trail_space": 9000, "margin": 3000},
                      raw=(RawKey("A", (100, 2500, 300)),))
    obj = load_decoder(raw_decoder(), Machine(), remote)
    assert number(obj, "data", "trail_space") == 9000
