"""Every table of anybpf.proto: complete, without doubles, and in step with the others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import pytest

from anybpf import uapi
from anybpf.proto import (
    access,
    attach,
    contexts,
    features,
    helpers,
    kfuncs,
    kinds,
    links,
    maps,
    progs,
    sections,
)
from anybpf.uapi_structs import STRUCTS

KERNEL = "6.18"


def members(enum: Sequence[tuple[str, int]]) -> dict[int, str]:
    """Number to name of a UAPI enum, without its bounds; the last of two names counts."""
    return {n: name for name, n in enum
            if not name.startswith("__") and not name.upper().endswith("UNSPEC")}


TABLES: dict[str, tuple[dict[int, str], str, Iterable[tuple[int, str]]]] = {
    "helpers": (members(uapi.BPF_FUNC_ID), "BPF_FUNC_", [(h.id, h.name) for h in helpers.HELPERS]),
    "progs": (members(uapi.BPF_PROG_TYPE), "BPF_PROG_TYPE_",
              [(p.type, p.name) for p in progs.PROGS]),
    "maps": (members(uapi.BPF_MAP_TYPE), "BPF_MAP_TYPE_", [(m.type, m.name) for m in maps.MAPS]),
    "attach": (members(uapi.BPF_ATTACH_TYPE), "BPF_",
               [(a.type, a.name) for a in attach.ATTACH_TYPES]),
    "links": (members(uapi.BPF_LINK_TYPE), "BPF_LINK_TYPE_",
              [(x.type, x.name) for x in links.LINKS]),
}


@pytest.mark.parametrize("table", TABLES)
def test_a_row_for_each_member_of_the_enum_in_order(table: str) -> None:
    enum, prefix, rows = TABLES[table]
    assert [(n, f"{prefix}{name.upper()}") for n, name in rows] == [
        (n, name.upper()) for n, name in sorted(enum.items())]


def test_a_version_for_each_command() -> None:
    commands = {name for name, _ in uapi.BPF_CMD if not name.startswith("__")}
    # the second name of BPF_PROG_TEST_RUN
    assert set(features.COMMANDS) == commands - {"BPF_PROG_RUN"}


def test_every_version_is_one_that_this_kernel_includes() -> None:
    for name, since in features.SINCE.items():
        assert re.fullmatch(r"[3-6]\.\d+", since), name
        assert (3, 18) <= features.version(since) <= features.version(KERNEL), name
    for kfunc in kfuncs.KFUNCS:
        assert features.version("5.13") <= features.version(kfunc.since) <= features.version(KERNEL)


def c_size(ctype: str) -> int:
    """Bytes of a C type as the struct tables name it."""
    base, _, count = ctype.partition("[")
    one = 8 if base.endswith("*") else {
        "__u8": 1, "__u16": 2, "__be16": 2, "__u64": 8, "bpf_user_pt_regs_t": 168}.get(base, 4)
    return one * int(count.rstrip("]") or 1) if count else one


#: fields that the kernel's rules see otherwise than its header
OTHERWISE = {("bpf_sock_ops", "args"), ("bpf_flow_keys", "bytes"),
             ("bpf_sk_lookup", "remote_port"), ("bpf_raw_tracepoint_args", "args")}


@pytest.mark.parametrize("context", [c for c in contexts.CONTEXTS if c in STRUCTS])
def test_context_fields_are_those_of_the_header(context: str) -> None:
    struct = STRUCTS[context]
    rows = contexts.CONTEXTS[context]
    if struct.size:
        assert rows.size == struct.size
    theirs = {m.name: (m.offset, c_size(m.type)) for m in struct.members}
    for field in rows.fields:
        if (context, field.name) not in OTHERWISE:
            assert theirs[field.name] == (field.offset, field.size), field.name


def test_context_fields_lie_inside_and_in_order() -> None:
    for context in contexts.CONTEXTS.values():
        offsets = [f.offset for f in context.fields]
        assert offsets == sorted(set(offsets)), context.name
        assert all(f.offset + f.size <= context.size for f in context.fields), context.name
        assert len({f.name for f in context.fields}) == len(context.fields), context.name


def test_views_name_fields_that_exist() -> None:
    for view in (*contexts.VIEWS.values(), *contexts.POINTED.values()):
        known = {f.name for f in contexts.CONTEXTS[view.context].fields}
        named = {*view.shows, *view.stores, *view.only, *view.stores_only, *view.bpf_capable,
                 *view.stores_bpf_capable}
        assert named - {"*"} <= known, view.context
        stored = {f.name for f in contexts.CONTEXTS[view.context].fields if f.stores}
        assert set(view.stores) <= stored, view.context


def test_every_program_type_has_a_view_or_its_context_by_btf() -> None:
    by_btf = {"tracing", "struct_ops", "ext", "lsm"}
    assert {p.name for p in progs.PROGS if p.type not in contexts.VIEWS} == by_btf
    assert {p.name for p in progs.PROGS if not p.context} == by_btf


def test_every_helper_is_granted_to_somebody_and_every_grant_is_a_helper() -> None:
    assert set(access.GRANTS) == set(progs.BY_TYPE)
    granted = {name for grants in access.GRANTS.values() for g in grants for name in g.names}
    assert granted == set(helpers.BY_NAME)


def test_helper_arguments_are_of_known_kinds() -> None:
    known = {value for name, value in vars(kinds).items() if name.startswith("ARG_")}
    for helper in helpers.HELPERS:
        assert len(helper.args) <= 5
        assert {kinds.base(a.kind) for a in helper.args} <= {kinds.base(k) for k in known}
        for arg in helper.args:
            assert bool(arg.size) == bool(arg.kind & kinds.MEM_FIXED_SIZE), helper.name


def test_helper_sizes_follow_memory() -> None:
    sizes = {kinds.ARG_CONST_SIZE, kinds.ARG_CONST_SIZE_OR_ZERO}
    for helper in helpers.HELPERS:
        for before, arg in zip((None, *helper.args), helper.args, strict=False):
            if kinds.base(arg.kind) in sizes:
                assert before is not None, helper.name
                assert kinds.base(before.kind) == kinds.ARG_PTR_TO_MEM, helper.name
                assert not before.size, helper.name


def test_helpers_that_take_a_map_and_maps_that_take_a_helper_agree() -> None:
    for helper, types in maps.TAKES.items():
        assert helper in helpers.BY_NAME
        for map_type in types:
            assert helper in maps.TAKEN_BY.get(map_type, {helper})
    for names in maps.TAKEN_BY.values():
        assert names <= set(helpers.BY_NAME)


def test_sections_are_unique_and_fit_the_program_types() -> None:
    assert len({s.name for s in sections.SECTIONS}) == len(sections.SECTIONS)
    for rule in sections.SECTIONS:
        prog = progs.BY_TYPE[rule.prog_type]
        if rule.flags & sections.ATTACHABLE and not rule.flags & sections.EXP_ATTACH_OPT:
            assert prog.accepts(rule.expected_attach_type), rule.pattern
        if rule.expected_attach_type:
            where = attach.BY_TYPE[rule.expected_attach_type]
            assert rule.prog_type in where.prog_types, rule.pattern
        if rule.flags & sections.SLEEPABLE:
            assert prog.sleepable, rule.pattern


def test_attach_types_that_programs_accept_are_theirs() -> None:
    for prog in progs.PROGS:
        theirs = {a.type for a in attach.of_prog(prog.type)}
        assert set(prog.attach) - {0} <= theirs, prog.name
        assert all(set(r.attach) <= theirs for r in prog.returns), prog.name


def test_links_of_attach_types_exist() -> None:
    assert {a.link for a in attach.ATTACH_TYPES} - {""} <= set(links.BY_NAME)


def test_every_native_helper_has_its_row() -> None:
    pytest.importorskip("anybpf.helpers.maps", reason="the native modules are not built")
    from anybpf import helpers as native

    assert set(native.addresses()) <= set(helpers.BY_ID)


def test_kfunc_sets_are_used_and_names_are_unique() -> None:
    assert len(kfuncs.BY_NAME) == len(kfuncs.KFUNCS) == 280
    assert {s for k in kfuncs.KFUNCS for s in k.sets} == set(kfuncs.SETS.values())
