"""Made-up programs before both verifiers: made, compared, shrunk, written down.

`ANYBPF_KERNEL=guest` in the environment: the other one is the guest's (docs/guest.md).
"""

import oracle

# before the modules here import `Linux`
oracle.choose(oracle.chosen())
