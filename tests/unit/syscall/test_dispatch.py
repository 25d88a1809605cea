"""Which commands there are, and what the others say."""

from __future__ import annotations

import pytest

from anybpf import uapi as u
from anybpf.errors import BpfError, NotSupported
from anybpf.machine import Machine
from anybpf.syscall import COMMANDS
from anybpf.syscall.attr import LAST_FIELD


def test_every_command_knows_its_last_field() -> None:
    assert set(COMMANDS) == set(LAST_FIELD)


@pytest.mark.parametrize("cmd", sorted(set(range(u.__dict__["__MAX_BPF_CMD"])) - set(COMMANDS)))
def test_commands_not_modelled_are_named(machine: Machine, cmd: int) -> None:
    with pytest.raises(NotSupported) as caught:
        machine.bpf(cmd, bytearray(168))
    assert caught.value.feature.startswith("BPF_")


@pytest.mark.parametrize("cmd", [-1, 38, 1 << 40])
def test_no_such_command(machine: Machine, cmd: int) -> None:
    with pytest.raises(BpfError) as caught:
        machine.bpf(cmd, bytearray(168))
    assert caught.value.name == "EINVAL"
