"""The guest's helpers and kfuncs against the rows of proto (kernel/bpf/btf.c)."""

from __future__ import annotations

from collections.abc import Iterator

from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.proto import helpers, kfuncs
from guest.backend import Guest

KFUNC = "bpf_kfunc"
HELPERS = "bpf_func_id"
#: what stands in the helpers' enum that is no helper
NO_HELPERS = {"unspec", "__BPF_FUNC_MAX_ID"}


def kernel_kfuncs(btf: Btf) -> set[str]:
    """The functions that the kernel's BTF marks as kfuncs."""
    tags = (known for _, known in btf.types()
            if isinstance(known, t.DeclTag) and known.name == KFUNC)
    functions = (btf.type(tag.type) for tag in tags)
    return {function.name for function in functions if isinstance(function, t.Func)}


def kernel_helpers(btf: Btf) -> set[str]:
    """The helpers that the kernel's BTF numbers."""
    values = (value for _, known in btf.types()
              if isinstance(known, t.Enum) and known.name == HELPERS
              for value in known.values)
    return {value.name.removeprefix("BPF_FUNC_") for value in values} - NO_HELPERS


def differences(guest: Guest) -> Iterator[tuple[str, list[str]]]:
    """(title, names) of each kind of difference."""
    btf = Btf(guest.kernel_btf())
    for kind, theirs, ours in (
            ("helpers", kernel_helpers(btf), {row.name for row in helpers.HELPERS}),
            ("kfuncs", kernel_kfuncs(btf), {row.name for row in kfuncs.KFUNCS})):
        ours = {name.removeprefix("bpf_") for name in ours} if kind == "helpers" else ours
        yield f"{kind} of the guest without a row", sorted(theirs - ours)
        yield f"{kind} with a row that the guest has not", sorted(ours - theirs)
