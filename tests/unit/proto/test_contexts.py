"""The rules of context access, on fields of every sort."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.proto import contexts, kinds
from anybpf.proto.contexts import CONTEXTS, POINTED, VIEWS, View

TC = VIEWS[uapi.BPF_PROG_TYPE_SCHED_CLS]
XDP = VIEWS[uapi.BPF_PROG_TYPE_XDP]
FILTER = VIEWS[uapi.BPF_PROG_TYPE_SOCKET_FILTER]
SOCK = VIEWS[uapi.BPF_PROG_TYPE_CGROUP_SOCK]


def name_loaded(view: View, off: int, size: int, attach: int = 0) -> str | None:
    field = contexts.load(view, off, size, attach)
    return field and field.name


@pytest.mark.parametrize(("off", "size", "name"), [
    (0, 4, "len"), (0, 1, "len"), (3, 1, "len"), (2, 2, "len"),
    (1, 2, None),  # not aligned
    (2, 4, None),  # across two fields
    (0, 8, None),  # larger than the field
    (48, 8, "cb"), (60, 4, "cb"),
    (64, 8, None),  # beyond the end of cb
    (76, 4, "data"), (76, 2, None),  # a pointer, whole or not at all
    (168, 8, "sk"), (168, 4, None),
    (192, 1, None), (-4, 4, None),
])
def test_loads_from_sk_buff(off: int, size: int, name: str | None) -> None:
    assert name_loaded(TC, off, size) == name


def test_a_view_hides_fields() -> None:
    assert name_loaded(TC, 76, 4) == "data"
    assert name_loaded(FILTER, 76, 4) is None


def test_stores_need_the_view_and_the_row() -> None:
    mark, length = contexts.find("__sk_buff", "mark"), contexts.find("__sk_buff", "len")
    assert mark
    assert length
    assert contexts.store(TC, mark.offset, 4) == mark
    assert contexts.store(FILTER, mark.offset, 4) is None
    assert contexts.store(TC, length.offset, 4) is None
    assert contexts.store(TC, mark.offset, 2) is None


def test_every_field_is_read_only_by_default() -> None:
    assert contexts.Field("x", 0).access == kinds.READ
    assert not contexts.Field("x", 0).may_store(0, 4)
    assert contexts.store(View("xdp_md", contexts.ALL), 0, 4) is None
    assert contexts.load(View("xdp_md"), 0, 4) is None


def test_attach_types_open_fields() -> None:
    assert name_loaded(XDP, 20, 4) is None
    assert name_loaded(XDP, 20, 4, uapi.BPF_XDP_DEVMAP) == "egress_ifindex"
    assert name_loaded(SOCK, 0, 4, uapi.BPF_CGROUP_INET_SOCK_CREATE) == "bound_dev_if"
    assert name_loaded(SOCK, 0, 4, uapi.BPF_CGROUP_INET4_POST_BIND) is None


def test_attach_types_open_stores() -> None:
    view, level = VIEWS[uapi.BPF_PROG_TYPE_CGROUP_SOCKOPT], 24
    assert contexts.store(view, level, 4, uapi.BPF_CGROUP_SETSOCKOPT)
    assert contexts.store(view, level, 4, uapi.BPF_CGROUP_GETSOCKOPT) is None
    assert contexts.load(view, level, 4, uapi.BPF_CGROUP_GETSOCKOPT)


def test_capabilities_open_fields() -> None:
    view = VIEWS[uapi.BPF_PROG_TYPE_CGROUP_SKB]
    assert contexts.load(view, 76, 4)
    assert contexts.load(view, 76, 4, bpf_capable=False) is None
    assert contexts.store(view, 152, 8)
    assert contexts.store(view, 152, 8, bpf_capable=False) is None


def test_narrow_only_from_the_first_byte() -> None:
    socket = POINTED[kinds.PTR_TO_SOCKET]
    assert name_loaded(socket, 4, 2) == "family"
    assert name_loaded(socket, 6, 2) is None


def test_a_port_may_be_loaded_as_a_word() -> None:
    socket = POINTED[kinds.PTR_TO_SOCKET]
    assert name_loaded(socket, 48, 4) == "dst_port"
    assert name_loaded(socket, 50, 2) is None


def test_sources_are_flat_names_of_internal_structs() -> None:
    assert contexts.CONTEXTS["xdp_md"].fields[0].source == "xdp_buff.data"
    sources = {f.source for f in CONTEXTS["__sk_buff"].fields}
    assert sources == {f"sk_buff.{f.name}" for f in CONTEXTS["__sk_buff"].fields}


def test_find() -> None:
    field = contexts.find("__sk_buff", "cb")
    assert field
    assert (field.offset, field.size) == (48, 20)
    assert contexts.find("__sk_buff", "nothing") is None
