"""Comparisons with a kernel; run as programs, they ask the one that the environment names."""

import oracle

oracle.choose(oracle.chosen())
