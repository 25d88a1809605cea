"""Packets, and programs that run on them (net/core)."""
