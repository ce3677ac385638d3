"""`python -m benchmarks`, inside the test cluster; `python -m benchmarks proxy` anywhere."""

import sys

from .commands import main

sys.exit(main(sys.argv[1:]))
