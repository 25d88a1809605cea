"""What the kernel offers, as data: helpers, kfuncs, programs, maps, contexts, sections, links.

Rows only. Verifier, engines, loader, disassembler, feature probe and documentation read the same
ones. Nothing here is imported at start; take the table you need: `from anybpf.proto import helpers`.
"""
