"""README's first command, from a clean copy of the sources, as root and as an ordinary user, in a private /etc."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Everything that quickstart changes on a machine is laid over, and gone with the namespace.
SCRIPT = r"""
set -eu
work=$(mktemp -d); trap 'umount -l "$work"; rmdir "$work"' EXIT
mount -t tmpfs tmpfs "$work"; chmod 755 "$work"
for folder in etc var; do
    mkdir -p "$work/$folder/upper" "$work/$folder/work"
    mount -t overlay overlay -o "lowerdir=/$folder,upperdir=$work/$folder/upper,workdir=$work/$folder/work" "/$folder"
done
mount -t tmpfs tmpfs /home; chmod 755 /home
mkdir "$work/sources"; cd "$1"
git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - 2>/dev/null | tar -xf - -C "$work/sources"
cd "$work/sources"
export MINIHUB_PREFIX="$work/opt"
if [ "$2" = root ]; then
    scripts/quickstart --verify --port 8141
    ! getent passwd demo

    # Where no password opens anything, it offers to make a user; unattended it does so only if told.
    sed -i 's/^\([^:]*\):\$[^:]*:/\1:!:/' /etc/shadow
    mkdir "$work/state" "$work/run"; chown minihub "$work/state" "$work/run"; chmod 700 "$work/state"
    export MINIHUB_HUB__STATE_DIR="$work/state" MINIHUB_HUB__RUNTIME_DIR="$work/run"
    runs() {
        : >"$work/said"  # now: in the background it could come after the first look at it
        scripts/quickstart "$@" </dev/null >"$work/said" 2>&1 &
        hub=$!
        for _ in $(seq 600); do
            ! grep -q "is ready at" "$work/said" || return 0
            kill -0 "$hub" || break
            sleep 0.1
        done
        cat "$work/said"; return 1
    }
    runs --port 8143
    grep "run again with --demo" "$work/said"
    ! getent passwd demo
    kill "$hub"; wait "$hub"
    runs --port 8143 --demo
    sed -n 's/^  password:  //p' "$work/said" |
        "$work/opt/venv/bin/minihub" verify --url http://127.0.0.1:8143 --user demo >"$work/verified"
    grep "all is well" "$work/verified" | sed 's/all/demo: all/'
    kill "$hub"; wait "$hub"
else
    useradd -m -s /bin/bash walker; echo walker:word-of-the-walker | chpasswd
    mkdir "$work/opt"; chown walker "$work/opt"
    su walker -c 'MINIHUB_VERIFY_PASSWORD=word-of-the-walker scripts/quickstart --verify --port 8142'
    ! su walker -c 'MINIHUB_VERIFY_PASSWORD=wrong scripts/quickstart --verify --port 8142'
fi
! pgrep -f "$work/opt/venv/bin/(minihub|jupyter)"
"""


@pytest.mark.real
@pytest.mark.timeout(420)
@pytest.mark.parametrize("who", ["root", "user"])
def test_quickstart_verifies_itself_and_leaves_nothing(who):
    """Login, a notebook cell, logout on the local scheduler; a wrong password is a failure."""
    command = ["unshare", "--mount", "sh", "-c", SCRIPT, "sh", str(ROOT), who]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=400
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "ran print(6 * 7): 42" in done.stdout
    assert done.stdout.count("all is well") == (2 if who == "root" else 1)
    assert who != "root" or "demo: all is well" in done.stdout
