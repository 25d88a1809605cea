"""proto.kfuncs against the running kernel: who may call what, and which must sleep."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.btf.types import DeclTag, Struct
from anybpf.proto import kfuncs
from anybpf.proto.kfuncs import KF_SLEEPABLE
from kernel.verdicts import (
    EXIT,
    SLEEPING,
    TARGETED,
    Case,
    call,
    cases,
    kernel_btf,
    load,
    need_type,
    refusal,
    target_id,
)

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(refusal()), reason=refusal())]


@pytest.fixture(scope="module")
def ids() -> dict[str, int]:
    """BTF id of each kfunc that the running kernel was built to offer, too."""
    btf = kernel_btf()
    tags = btf.find_all("bpf_kfunc", uapi.BTF_KIND_DECL_TAG)
    offered = {btf.expect(tag, DeclTag).type for tag in tags}
    found = {k.name: btf.find(k.name, uapi.BTF_KIND_FUNC) for k in kfuncs.KFUNCS}
    return {name: number for name, number in found.items() if number in offered}


def hook(case: Case) -> tuple[str, str] | None:
    """The struct and the member that a struct_ops program stands in for."""
    if case.prog.name != "struct_ops":
        return None
    members = kernel_btf().expect(target_id(case.target), Struct).members
    return case.target, members[case.attach].name


@pytest.mark.parametrize("case", [*cases(), *SLEEPING, *TARGETED], ids=str)
def test_the_same_kfuncs_are_allowed(case: Case, ids: dict[str, int]) -> None:
    need_type(case)
    assert ids
    for name, number in ids.items():
        said = load(case, call(number, uapi.BPF_PSEUDO_KFUNC_CALL) + EXIT).message
        if "metadata kfuncs require device-bound program" in said:
            continue  # said before anybody looks at the program type
        row = kfuncs.BY_NAME[name]
        refused = f"calling kernel function {name} is not allowed" in said
        assert refused != row.callable_from(case.prog.type, case.attach, hook(case)), name
        sleeps = f"program must be sleepable to call sleepable kfunc {name}" in said
        must = bool(row.flags & KF_SLEEPABLE) and not case.flags
        assert refused or sleeps == must, name
