"""The table of C prototypes agrees with the rows of helpers, and the header with the table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from anybpf.proto import kinds
from anybpf.proto.helpers import HELPERS, Helper
from anybpf.toolchain import prototypes
from anybpf.toolchain.headers import INCLUDE

UAPI = Path("/usr/include/linux/bpf.h")
DOCUMENTED = re.compile(r"^ \* ([\w ]+?[ *]+)bpf_(\w+)\(([^)]*)\)$", re.MULTILINE)
SHORT = re.compile(r"(?<!_)\b([us](?:8|16|32|64))\b")
#: rows that take fewer arguments than C says, the rest being ignored
IGNORED = {"get_cgroup_classid", "get_branch_snapshot"}
#: kinds of argument that are numbers, not addresses
NUMBERS = {kinds.ARG_CONST_SIZE, kinds.ARG_CONST_SIZE_OR_ZERO, kinds.ARG_CONST_ALLOC_SIZE_OR_ZERO}
#: the kernel's own struct -> what a program sees of it
SEEN_AS = {"sk_buff": "__sk_buff", "xdp_buff": "xdp_md", "sk_msg_buff": "sk_msg_md"}


def test_one_for_each_helper_in_order() -> None:
    assert list(prototypes.BY_NAME) == [h.name for h in HELPERS]


@pytest.mark.parametrize("helper", HELPERS, ids=lambda h: h.name)
def test_arguments(helper: Helper) -> None:
    params = prototypes.BY_NAME[helper.name].params
    if helper.name in IGNORED:
        assert len(params) > len(helper.args)
    elif not helper.varargs:
        assert len(params) == len(helper.args)
    for arg, param in zip(helper.args, params, strict=False):
        if arg.kind & kinds.KIND_MASK in NUMBERS:
            assert "*" not in param
        elif arg.kind & kinds.KIND_MASK != kinds.ARG_ANYTHING:
            assert "*" in param


def test_the_shipped_header_is_the_generated_one() -> None:
    assert (INCLUDE / "bpf" / "bpf_helper_defs.h").read_text() == prototypes.header()


def test_parse() -> None:
    found = prototypes.parse("struct bpf_sock *f(void *a, const struct b *c)")
    assert found == ("struct bpf_sock *", "f", ("void *a", "const struct b *c"))
    assert found.structs == {"struct bpf_sock", "struct b"}
    assert prototypes.parse("void g(void)").params == ()


def types(params: str) -> list[str]:
    """Types without names, as programs see them."""
    shown = SHORT.sub(r"__\1", params).replace("size_t", "unsigned long")
    shown = re.sub(r"struct (\w+)", lambda m: f"struct {SEEN_AS.get(m[1], m[1])}", shown)
    shown = shown.replace("struct bpf_map ", "void ").replace("const struct bpf_dynptr",
                                                              "struct bpf_dynptr")
    return [re.sub(r"\w+$", "", p.strip()).replace(" ", "") for p in shown.split(",")
            if p != "void"]


def test_as_documented() -> None:
    """Against the prototypes in the comments of an installed <linux/bpf.h>."""
    if not UAPI.is_file():
        pytest.skip("the kernel's headers are not installed")
    documented: dict[str, list[list[str]]] = {}
    for ret, name, params in DOCUMENTED.findall(UAPI.read_text()):
        documented.setdefault(name, []).append([*types(ret.strip() + " x"), *types(params)])
    if not documented:
        pytest.skip("this <linux/bpf.h> has no comments")
    for name, seen in documented.items():
        ours = prototypes.BY_NAME[name]
        # one context for several program types is `void *`; the key became wider in Linux 5.12
        if len(seen) == 1 and name != "redirect_map":
            assert [*types(ours.ret + " x"), *types(", ".join(ours.params) or "void")] == seen[0]
