"""`python -m anybpf`: the same as the `anybpf` command."""

from __future__ import annotations

from anybpf.cli import main

if __name__ == "__main__":
    main()
