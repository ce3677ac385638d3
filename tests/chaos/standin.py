"""A stand-in for Jupyter that is up in a moment: the one that the benchmarks use."""

from __future__ import annotations

import os
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "scripts/benchmarks/standin.py"


def install_jupyter(directory: Path, *, hung: bool = False) -> None:
    """Make a directory for `jupyter.bin_dir`; with `hung` what is started there never listens."""
    directory.mkdir()
    # It names no Python interpreter, so the launcher runs the `jupyter-lab` beside it as it is.
    (directory / "jupyter").write_text("#!/bin/sh\nexit 1\n")
    program = SOURCE.read_text().split("\n", 1)[1]
    text = "#!/bin/sh\nexec sleep 600\n" if hung else f"#!{os.path.realpath(sys.executable)} -IS\n{program}"
    (directory / "jupyter-lab").write_text(text)
    for file in directory.iterdir():
        file.chmod(0o755)
