"""`python -m benchmarks`, inside the test cluster."""

import sys

from .commands import main

sys.exit(main(sys.argv[1:]))
