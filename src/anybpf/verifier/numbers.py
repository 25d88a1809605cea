"""Limits of 32-bit and 64-bit numbers (include/linux/limits.h)."""

from __future__ import annotations

from typing import Final

S32_MIN: Final = -0x8000_0000
S32_MAX: Final = 0x7FFF_FFFF
S64_MIN: Final = -0x8000_0000_0000_0000
S64_MAX: Final = 0x7FFF_FFFF_FFFF_FFFF
