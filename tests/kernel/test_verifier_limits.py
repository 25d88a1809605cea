"""Limits of the walk that take long to reach, against the running kernel."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.isa.asm import assemble
from anybpf.linux import Linux
from anybpf.verifier import Facts, Options, verify
from kernel.both_verifiers import Answer, ask_kernel, ask_ours
from kernel.calls import Calls

#: paths that may wait at one time
PENDING = 8192
SOCKET = uapi.BPF_PROG_TYPE_SOCKET_FILTER


@pytest.mark.kernel
@pytest.mark.parametrize(("jump", "errno"), [
    ("if r0 == {} goto out", "EFAULT"), ("may_goto +0", "ENOMEM"),
])
def test_jumps_that_are_put_aside(jump: str, errno: str) -> None:
    """The message and the counters at the first jump that is one too many."""
    reason = Linux.probe()
    if reason:
        pytest.skip(reason)
    calls = Calls(Linux())
    jumps = "\n".join(map(jump.format, range(PENDING + 1)))
    insns = assemble(f"call bpf_get_prandom_u32\n{jumps}\nout:\nr0 = 0\nexit")
    attr = calls.packed(calls.prog_fields(insns))
    kernel = ask_kernel(Linux(), attr, uapi.BPF_LOG_STATS)
    calls.close()
    assert kernel.verdict == errno
    assert kernel.log.startswith(f"The sequence of {PENDING + 1} jumps is too complex.\n")
    assert ask_ours(insns, Facts(SOCKET), uapi.BPF_LOG_STATS) == Answer(*kernel)


def test_instructions_processed() -> None:
    """As the kernel says it at a million, with a smaller limit."""
    insns = assemble("r0 = 0\nagain:\nr0 += 1\nif r0 != 0 goto again\nexit")
    verdict = verify(insns, Facts(SOCKET), Options(insn_limit=1000))
    assert verdict.message == "BPF program is too large. Processed 1001 insn"
    assert verdict.insns == 1001
