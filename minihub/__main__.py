"""`python -m minihub` is the command line."""

from minihub.cli import main

raise SystemExit(main())
