"""The numbers of proto.kinds against the running kernel's BTF."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.proto import kinds
from kernel.verdicts import kernel_btf, refusal

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(refusal()), reason=refusal())]


@pytest.mark.parametrize("enum", [
    "bpf_arg_type", "bpf_return_type", "bpf_type_flag", "bpf_reg_type", "bpf_access_type"])
def test_numbers_are_the_kernels(enum: str) -> None:
    btf = kernel_btf()
    members = btf.type(btf.find(enum, uapi.BTF_KIND_ENUM)).values
    theirs = {m.name.removeprefix("BPF_"): m.value for m in members if not m.name.startswith("__")}
    ours = vars(kinds)
    named = {name: ours[name] for name in theirs if name in ours}
    assert named == {name: theirs[name] for name in named}
    # only combinations that no row uses may be missing
    assert {n for n in theirs if n not in ours} <= {
        "PTR_TO_MAP_VALUE_OR_NULL", "PTR_TO_SOCKET_OR_NULL", "PTR_TO_SOCK_COMMON_OR_NULL",
        "PTR_TO_TCP_SOCK_OR_NULL", "PTR_TO_BTF_ID_OR_NULL"}
