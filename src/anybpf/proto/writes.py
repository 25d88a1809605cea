"""Members of the kernel's structs that programs may write (btf_struct_access, bpf_verifier_ops).

A member is given by its path (`q.qlen`); members of anonymous members count as the struct's own.
"""

from __future__ import annotations

from typing import NamedTuple

from anybpf import uapi


class Place(NamedTuple):
    """A member, or of an array of bytes the part in which a member of another struct lies."""

    path: str
    #: stores may begin anywhere in it, not only where it begins
    inside: bool = False
    #: STRUCT.PATH of what the member holds
    holds: str = ""
    #: bytes at its end that are not for programs
    short: int = 0


class Texts(NamedTuple):
    """What is said of stores elsewhere; `struct`, `off`, `size` and `end` are filled in.

    Where there is no text, nothing is said.
    """

    #: nothing of the struct may be written
    other: str = ""
    #: nothing that may be written begins there
    field: str = ""
    #: what is written begins there and ends too early
    beyond: str = ""
    #: the store ends behind the struct
    outside: str = ""


class Writes(NamedTuple):
    """What one kind of program may write: struct -> places; no places: all of it."""

    structs: dict[str, tuple[Place, ...]]
    texts: Texts


_USUAL = Texts("only read is supported", "no write support to {struct} at off {off}",
               "write access at off {off} with size {size} beyond the member of {struct} ended at "
               "{end}")


def _places(*paths: str) -> tuple[Place, ...]:
    return tuple(map(Place, paths))


#: nf_conntrack_btf_struct_access()
_CONNECTION = _USUAL._replace(
    field="no write support to nf_conn at off {off}",
    beyond="write access at off {off} with size {size} beyond the member of nf_conn ended at {end}")
CONNECTIONS = Writes({"nf_conn": _places("mark"), "nf_conn___init": _places("ct.mark")},
                     _CONNECTION)

#: program type -> what it may write, whatever it attaches to
BY_TYPE = dict.fromkeys((uapi.BPF_PROG_TYPE_SCHED_CLS, uapi.BPF_PROG_TYPE_SCHED_ACT,
                         uapi.BPF_PROG_TYPE_XDP), CONNECTIONS)

#: bpf_dummy_ops_btf_struct_access()
DUMMY = Writes({"bpf_dummy_ops_state": ()}, Texts(
    "only access to bpf_dummy_ops_state is supported",
    beyond="write access at off {off} with size {size}"))

#: bpf_tcp_ca_btf_struct_access()
CONGESTION = Writes({"tcp_sock": (
    *_places("inet_conn.icsk_inet.sk.sk_pacing_rate", "inet_conn.icsk_inet.sk.sk_pacing_status"),
    Place("inet_conn.icsk_ca_priv", inside=True),
    *_places("inet_conn.icsk_ack.pending", "snd_cwnd", "snd_cwnd_cnt", "snd_cwnd_stamp",
             "snd_ssthresh", "ecn_flags", "app_limited"))}, _USUAL)

#: bpf_scx_btf_struct_access()
SCHEDULER = Writes({"task_struct": tuple(
    Place(path, inside=True) for path in ("scx.slice", "scx.dsq_vtime", "scx.disallow"))}, Texts())

#: bpf_qdisc_btf_struct_access()
QDISC = Writes({
    "sk_buff": (Place("tstamp"), Place("cb", inside=True, holds="qdisc_skb_cb.data")),
    "Qdisc": (*_places("limit", "q.qlen"), Place("qstats", inside=True))}, _USUAL)

_READ_ONLY = "write access at off {off} with size {size} on read-only part of {struct}"
#: hid_bpf_ops_btf_struct_access()
HID = Writes({
    "hid_bpf_ctx": (Place("retval", inside=True),),
    "hid_device": tuple(Place(path, inside=True, short=1) for path in ("name", "uniq", "phys"))},
    Texts("write access to this struct is not supported", _READ_ONLY, _READ_ONLY,
          "write access for struct {struct} at off {off} with size {size}"))
