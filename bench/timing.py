"""The stop-watch of the benchmarks: CPU time, so that others on the machine count little."""

from __future__ import annotations

import time
from collections.abc import Callable


def best(work: Callable[[], object], times: int = 3) -> float:
    """CPU seconds of the fastest of some runs."""
    def once() -> float:
        start = time.process_time()
        work()
        return time.process_time() - start
    return min(once() for _ in range(times))
