"""The process: config, source, decode, join, core, checkpoint, telemetry, HTTP, command line."""

import os

# Before numpy loads: products here are small, and a second BLAS thread burns a core to gain nothing (15 times the CPU
# time of a bucket was measured at 128 features on a busy machine).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
