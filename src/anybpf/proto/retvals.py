"""Names of the values programs return (linux/bpf.h, linux/pkt_cls.h)."""

from __future__ import annotations

from anybpf import uapi
from anybpf.bits import s32


def _names(prefix: str, members: tuple[tuple[str, int], ...]) -> dict[int, str]:
    return {value: name for name, value in members if name.startswith(prefix)}


TC_ACT = {
    -1: "TC_ACT_UNSPEC",
    0: "TC_ACT_OK",
    1: "TC_ACT_RECLASSIFY",
    2: "TC_ACT_SHOT",
    3: "TC_ACT_PIPE",
    4: "TC_ACT_STOLEN",
    5: "TC_ACT_QUEUED",
    6: "TC_ACT_REPEAT",
    7: "TC_ACT_REDIRECT",
    8: "TC_ACT_TRAP",
}
SK_ACTION = _names("SK_", uapi.SK_ACTION)
LWT = {uapi.BPF_OK: "BPF_OK", uapi.BPF_DROP: "BPF_DROP", uapi.BPF_REDIRECT: "BPF_REDIRECT"}

#: program type -> signed return value -> name
BY_TYPE: dict[int, dict[int, str]] = {
    uapi.BPF_PROG_TYPE_XDP: _names("XDP_", uapi.XDP_ACTION),
    uapi.BPF_PROG_TYPE_SCHED_CLS: TC_ACT,
    uapi.BPF_PROG_TYPE_SCHED_ACT: TC_ACT,
    uapi.BPF_PROG_TYPE_SK_SKB: SK_ACTION,
    uapi.BPF_PROG_TYPE_SK_MSG: SK_ACTION,
    uapi.BPF_PROG_TYPE_SK_LOOKUP: SK_ACTION,
    uapi.BPF_PROG_TYPE_SK_REUSEPORT: SK_ACTION,
    uapi.BPF_PROG_TYPE_LWT_IN: LWT | {uapi.BPF_LWT_REROUTE: "BPF_LWT_REROUTE"},
    uapi.BPF_PROG_TYPE_LWT_OUT: LWT | {uapi.BPF_LWT_REROUTE: "BPF_LWT_REROUTE"},
    uapi.BPF_PROG_TYPE_LWT_XMIT: LWT | {uapi.BPF_LWT_REROUTE: "BPF_LWT_REROUTE"},
    uapi.BPF_PROG_TYPE_NETFILTER: {0: "NF_DROP", 1: "NF_ACCEPT"},
    uapi.BPF_PROG_TYPE_FLOW_DISSECTOR: {
        uapi.BPF_OK: "BPF_OK",
        uapi.BPF_DROP: "BPF_DROP",
        uapi.BPF_FLOW_DISSECTOR_CONTINUE: "BPF_FLOW_DISSECTOR_CONTINUE",
    },
}

#: what lets a packet go on, so that a replay can write it out
PASSING: dict[int, frozenset[int]] = {
    uapi.BPF_PROG_TYPE_XDP: frozenset({uapi.XDP_PASS, uapi.XDP_TX, uapi.XDP_REDIRECT}),
    uapi.BPF_PROG_TYPE_SCHED_CLS: frozenset({-1, 0, 1, 3, 6, 7}),
    uapi.BPF_PROG_TYPE_SCHED_ACT: frozenset({-1, 0, 1, 3, 6, 7}),
}


def name(prog_type: int, retval: int) -> str | None:
    """The name of `retval` (unsigned, as BPF_PROG_TEST_RUN gives it), or None if it has none."""
    return BY_TYPE.get(prog_type, {}).get(s32(retval))


def passes(prog_type: int, retval: int) -> bool:
    """Whether a packet with this verdict goes on; filters without a table pass on non-zero."""
    if prog_type in PASSING:
        return s32(retval) in PASSING[prog_type]
    return retval != 0
