"""proto.access and the licence column of proto.helpers against the running kernel."""

from __future__ import annotations

import pytest

from anybpf.proto import access, helpers, progs
from anybpf.proto.access import CAP_BPF
from kernel.verdicts import (
    EXIT,
    SLEEPING,
    TARGETED,
    Case,
    call,
    cases,
    load,
    mov,
    need_type,
    refusal,
    with_caps,
)

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(refusal()), reason=refusal())]

each_case = pytest.mark.parametrize("case", [*cases(), *SLEEPING, *TARGETED], ids=str)
CLEAR = b"".join(mov(r, 0) for r in range(2, 6))
CAP_NUMBERS = {"net_admin": 12, "bpf": 39}


def allowed(case: Case, license_text: str = "GPL") -> dict[int, bool]:
    """Helper id: whether the kernel also lets programs under this licence call it."""
    found = {}
    for helper in helpers.HELPERS:
        log = load(case, CLEAR + call(helper.id) + EXIT, license_text=license_text).log
        if "cannot use helper" not in log:
            found[helper.id] = "cannot call GPL-restricted" not in log
    return found


def configured(case: Case, caps: int = access.ALL_CAPS) -> set[int]:
    """What our rows allow in every configuration of the kernel."""
    grants = {h.id: access.grant(h.id, case.prog.type, case.attach, caps, case.target)
              for h in helpers.HELPERS}
    return {number for number, grant in grants.items() if grant and not grant.config}


def unusual(case: Case) -> set[int]:
    """What our rows allow in some configurations."""
    return {number for group in access.GRANTS[case.prog.type] if group.config
            for number in (helpers.BY_NAME[n].id for n in group.names)}


@each_case
def test_the_same_helpers_are_allowed(case: Case) -> None:
    need_type(case)
    assert set(allowed(case)) - unusual(case) == configured(case)


@each_case
def test_the_same_helpers_need_a_gpl_licence(case: Case) -> None:
    need_type(case)
    if case.prog.gpl:
        pytest.skip("such programs must be under the GPL altogether")
    free = {number for number, ok in allowed(case, "Proprietary").items() if ok}
    ours = {h.id for h in helpers.HELPERS
            if not helpers.proto_for(h.id, case.prog.type, case.attach).gpl}
    assert free - unusual(case) == configured(case) & ours


def test_the_same_helpers_need_cap_perfmon() -> None:
    types = [p for p in progs.PROGS if not p.needs & access.CAP_PERFMON]
    code = """
import json
from anybpf.proto import progs
from kernel.test_helper_availability import allowed
from kernel.verdicts import cases, loadable
print(json.dumps({f"{c.prog.type} {c.attach}": sorted(allowed(c)) for c in cases()
                  if loadable(c.prog.type)}))
"""
    found = with_caps(list(CAP_NUMBERS.values()), code)
    assert isinstance(found, dict)
    assert len(found) >= len(types) - 1
    for key, kernel in found.items():
        prog_type, attach = map(int, key.split())
        case = Case(progs.BY_TYPE[prog_type], attach)
        assert set(kernel) == configured(case, CAP_BPF), key
