"""The table of calls whose answers must be the same on Machine and Linux."""

from __future__ import annotations

from kernel import errno_maps, errno_objects, errno_progs
from kernel.errno_base import BTF, CASES, IDS

__all__ = ["BTF", "CASES", "IDS", "errno_maps", "errno_objects", "errno_progs"]
