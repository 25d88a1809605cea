"""Link types."""

from __future__ import annotations

from anybpf import uapi
from anybpf.proto import links


def test_a_link() -> None:
    row = links.BY_TYPE[uapi.BPF_LINK_TYPE_TCX]
    assert (row.name, row.since, row.updates, row.detaches) == ("tcx", "6.6", True, True)
    assert links.BY_NAME["tcx"] is row


def test_links_of_events_stay_with_their_program() -> None:
    fixed = {x.name for x in links.LINKS if not x.updates}
    assert {"perf_event", "kprobe_multi", "uprobe_multi", "tracing", "raw_tracepoint"} <= fixed
