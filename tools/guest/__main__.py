"""`python tools/guest` and `python -m guest`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from guest.cli import run

run()
