"""The dashboard and the command line."""

import os

# OpenMP threads that spin while they wait stall a machine on which more of them run than it has
# cores. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
