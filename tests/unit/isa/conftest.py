"""Fixtures of the instruction set's tests."""

from unit.isa.host import linux

__all__ = ["linux"]
