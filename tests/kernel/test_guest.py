"""What only the guest's kernel answers: programs that the running kernel's policy keeps out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from anybpf import toolchain, uapi
from anybpf.btf.parse import Btf
from conftest import OBJECTS
from kernel.calls import Calls

if TYPE_CHECKING:
    from guest.backend import Guest
    from guest.verdicts import Programs

pytestmark = pytest.mark.kernel

CAP_PERFMON, CAP_BPF = 38, 39
#: program -> its verdict and the line with which the verifier refuses
WANTED = {
    "entry": ("OK", ""),
    "entry_answers": ("EINVAL", "At program exit the register R0 has smin=1 smax=1 should have "
                                "been in [0, 0]"),
    "leave": ("OK", ""),
    "leave_writes": ("EACCES", "only read is supported"),
    "change": ("OK", ""),
    "change_forbidden": ("EINVAL", "do_unlinkat() is not modifiable"),
    "guard": ("OK", ""),
    "guard_wrongly": ("EINVAL", "At program exit the register R0 has smin=1 smax=1 should have "
                                "been in [-4095, 0]"),
    "probe": ("OK", ""),
    "switching": ("OK", ""),
    "select_cpu": ("OK", ""),
    "enqueue": ("EACCES", "2: (63) *(u32 *)(r1 +"),
}


@pytest.fixture(scope="module")
def guest(request: pytest.FixtureRequest) -> Guest:
    """The guest's kernel."""
    if request.config.getoption("--kernel") != "guest":
        pytest.skip("asks the guest's kernel: run with --kernel guest")
    from guest.backend import Guest

    reason = Guest.probe()
    if reason:
        pytest.skip(reason)
    return Guest()


@pytest.fixture(scope="module")
def typed(guest: Guest) -> Programs:
    """The programs, compiled for the guest's types."""
    if toolchain.find_compiler() is None:
        pytest.skip("no clang and no ziglang package installed")
    from guest.verdicts import Programs

    return Programs(guest, OBJECTS / "guest.bpf.c")


def test_every_program_is_in_the_table(typed: Programs) -> None:
    assert sorted(typed.names) == sorted(WANTED)


@pytest.mark.parametrize("name", WANTED)
def test_verdicts_of_tracing_lsm_and_sched_ext(typed: Programs, name: str) -> None:
    said = typed.ask(name)
    verdict, line = WANTED[name]
    assert said.verdict == verdict, said.log
    assert line in said.log


def test_it_is_the_reference_series(guest: Guest) -> None:
    assert guest.kernel_version[:2] == (6, 18)
    assert "CONFIG_SCHED_CLASS_EXT=y" in guest.kernel_config()


def test_rows_of_helpers_are_complete(guest: Guest) -> None:
    from guest import rows

    found = dict(rows.differences(guest))
    assert found["helpers of the guest without a row"] == []
    assert found["helpers with a row that the guest has not"] == []


def test_a_module_comes_with_what_it_needs_and_its_types(guest: Guest) -> None:
    from guest import modules

    known = modules.Modules(guest.kernel)
    assert "nf_conntrack" in modules.depends(known.image("nf_nat"))
    assert known.load(guest.there, "nf_nat")[-1:] in ([], ["nf_nat"])
    assert known.load(guest.there, "nf_nat") == []
    assert "nf_conntrack" in guest.there.read_file("/proc/modules").decode()
    own = Btf(guest.there.read_file("/sys/kernel/btf/nf_nat"), base=Btf(guest.kernel_btf()))
    assert own.find("bpf_ct_set_nat_info", uapi.BTF_KIND_FUNC)


def test_the_unprivileged(guest: Guest) -> None:
    from guest import privilege

    calls = Calls(guest)
    with privilege.holding(guest.there):
        assert calls.open(uapi.BPF_PROG_LOAD, **calls.prog_fields()) == "EPERM"
    with privilege.open_to_all(guest.there), privilege.holding(guest.there):
        assert calls.open(uapi.BPF_PROG_LOAD, **calls.prog_fields()) == "fd"
        tracing = calls.prog_fields(prog_type=uapi.BPF_PROG_TYPE_KPROBE)
        assert calls.open(uapi.BPF_PROG_LOAD, **tracing) == "EPERM"
    with privilege.holding(guest.there, [CAP_PERFMON, CAP_BPF]):
        assert calls.open(uapi.BPF_PROG_LOAD, **tracing) == "fd"
    calls.close()
