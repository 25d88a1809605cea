"""What the kernel offers, as data: helpers, kfuncs, programs, maps, contexts, sections, links.

Rows only. Verifier, engines, loader, disassembler, feature probe and documentation read the same
ones. Nothing is imported here; take the table you need: `from anybpf.proto import helpers`.
"""
