"""The frame and keys of a flow dissector program."""

from __future__ import annotations

import pytest

from anybpf.net.flow_dissector import FlowDissector


def test_the_keys_begin_at_the_ethernet_header() -> None:
    keys = bytes(FlowDissector(bytes(12) + b"\x08\0" + bytes(40), 2))
    assert len(keys) == 56
    assert keys[:4] == bytes([14, 0, 14, 0])
    assert keys[10:12] == b"\x08\0"
    assert keys[48:52] == bytes([2, 0, 0, 0])


def test_a_frame_has_an_ethernet_header() -> None:
    with pytest.raises(ValueError, match="Ethernet"):
        FlowDissector(bytes(13))
