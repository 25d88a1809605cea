"""Functions that catch what a program throws: `__exception_cb(name)` (bpf_prog_assign_exc_cb).

The compiler leaves a declaration tag on the program; no code refers to the function, so it has to
be put behind the program for the verifier to find it. The source is tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from anybpf.libbpf.btf_fixup import ids_of_kind
from anybpf.libbpf.spec import CallTarget, Functions, FunctionSpec

TAG = "exception_callback:"


def tags(btf: Btf) -> dict[str, list[str]]:
    """Program name -> the functions that its tags name."""
    found: dict[str, list[str]] = {}
    for type_id in ids_of_kind(btf, uapi.BTF_KIND_DECL_TAG):
        tag = btf.expect(type_id, t.DeclTag)
        if (tag.component == -1 and tag.name.startswith(TAG)
                and btf.kind(tag.type) == uapi.BTF_KIND_FUNC):
            name = btf.expect(tag.type, t.Func).name
            found.setdefault(name, []).append(tag.name.removeprefix(TAG))
    return found


def of(main: FunctionSpec, functions: Functions) -> CallTarget | None:
    """Where the function is that catches for `main`. Raises LoadError if it cannot.

    Of several tags none counts: the verifier has words for that.
    """
    names = functions.catchers.get(main.name, [])
    if len(names) != 1:
        return None
    for target, function in functions.items():
        if function.name == names[0] and function is not main:
            if not function.is_global or function.is_hidden:
                raise LoadError(f"prog '{main.name}': exception callback '{names[0]}' must be "
                                "global non-hidden")
            return target
    raise LoadError(f"prog '{main.name}': cannot find exception callback '{names[0]}'")
