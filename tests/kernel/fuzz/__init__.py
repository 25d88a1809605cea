"""Made-up programs before both verifiers: made, compared, shrunk, written down.

`ANYBPF_KERNEL=guest` in the environment: the other one is the guest's (docs/guest.md).
"""

import os

from guest.backend import stand_in

if os.environ.get("ANYBPF_KERNEL") == "guest":
    # before the modules here import `Linux`
    stand_in()
