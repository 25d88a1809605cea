"""Captures that are not what they should be: short frames, other link types, the file itself."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from anybpf.cli import cli
from anybpf.isa.asm import assemble
from anybpf.net import pcap
from objects.elfbuild import ElfBuilder

FRAME = bytes(64)


def capture(tmp_path: Path, packets: list[bytes], linktype: int = 1) -> Path:
    path = tmp_path / "in.pcap"
    with pcap.Writer(path, linktype) as sink:
        for number, data in enumerate(packets):
            sink.write(data, number)
    return path


@pytest.fixture
def firewall() -> str:
    return str(Path(__file__).parents[3] / "demo" / "firewall.bpf.o")


def run(*words: str) -> tuple[int, str]:
    answer = CliRunner().invoke(cli, ["run", *words])
    return answer.exit_code, answer.output


def verdicts(output: str) -> dict[str, Any]:
    return {row["verdict"]: row["packets"] for row in json.loads(output)["verdicts"]}


def test_short_frames_are_counted(tmp_path: Path, firewall: str) -> None:
    path = capture(tmp_path, [FRAME, b"short", FRAME])
    code, output = run(firewall, "--json", "--pcap", str(path))
    assert code == 0
    assert verdicts(output) == {"XDP_DROP": 2, "refused (too short)": 1}


def test_other_link_types_are_refused(tmp_path: Path, firewall: str) -> None:
    path = capture(tmp_path, [FRAME], pcap.LINKTYPE_RAW)
    assert run(firewall, "--pcap", str(path)) == (
        1, "Error: not supported: packet 1: captures of link type 101, which are no Ethernet "
           "frames\n")


def test_the_capture_is_not_overwritten(tmp_path: Path, firewall: str) -> None:
    path = capture(tmp_path, [FRAME])
    before = path.read_bytes()
    other = tmp_path / "link.pcap"
    os.link(path, other)
    code, output = run(firewall, "--pcap", str(path), "--pcap-out", str(other))
    assert code == 2
    assert "would overwrite" in output
    assert path.read_bytes() == before


def test_an_error_tells_the_packet(tmp_path: Path) -> None:
    code = assemble("""
        r2 = *(u32 *)(r1 + 0)
        r3 = *(u32 *)(r1 + 4)
        r2 += 64
        if r2 >= r3 goto pass
        r0 = *(u32 *)(r3 + 8)
    pass:
        r0 = 2
        exit
    """)
    made = ElfBuilder()
    made.function("wild", made.code("xdp", code), 0, 8 * len(code))
    program = tmp_path / "wild.bpf.o"
    program.write_bytes(made.to_bytes())
    path = capture(tmp_path, [FRAME, FRAME + bytes(8)])
    status, output = run(str(program), "--checked", "--pcap", str(path))
    assert status == 1
    assert output.startswith("Error: packet 2: ")


def test_a_device_is_no_capture(firewall: str) -> None:
    if not Path("/dev/zero").is_char_device():
        pytest.skip("no /dev/zero here")
    code, output = run(firewall, "--pcap", "/dev/zero")
    assert code == 2
    assert "not a regular file" in output


def test_records_of_no_map(firewall: str) -> None:
    code, output = run(firewall, "--record", "nothing=event")
    assert code == 2
    assert "no map 'nothing'" in output
