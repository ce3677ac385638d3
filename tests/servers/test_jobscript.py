"""The job script: what it says, and that no shell ever reads a user's text."""

from __future__ import annotations

import ast
import hashlib
import hmac
import json
import os
import re
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minihub.errors import ConfigError
from minihub.launcher import inside
from minihub.servers.jobscript import (
    INTERFACES,
    LaunchSpec,
    build_job_script,
    build_proof_path,
    default_path,
    proof_answer,
    verify_proof,
)
from minihub.servers.model import Secrets, ServerTls

SPEC = LaunchSpec(
    user="ada",
    tag="minihub-h-1",
    base_url="/user/ada/",
    hub_prefix="/hub/",
    interface="lab",
    secrets=Secrets(token="TOKEN", report="REPORT"),
    tls=ServerTls("CERTIFICATE", "KEY", "CLIENT"),
)

NASTY = [
    "plain",
    'it\'s "quoted" `id` $(id) ${HOME} \\',
    "a\n#SBATCH --uid=0\nb",
    "MINIHUB_0\nEOF\n'EOF'\n",
    "\r\n#SBATCH --nodelist=x\r\n",
    "é ünï 日本語 \u2028 \x7f",
    "-rf",
    "'; exit 1; '",
    "%j %s {home} {user} @NAMES@ @BIN_DIR@",
]

# Prints, instead of running it, what a Python would have been given.
FAKE_PYTHON = '#!/bin/sh\n{ for word; do printf "%s\\n" "ARG $word"; done; cat; } >"$CAUGHT"\n'


def run(script, shell, tmp_path, **env):
    caught = tmp_path / "caught"
    done = subprocess.run(
        [shell],
        input=script.encode(),
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "CAUGHT": str(caught), **env},
        cwd=tmp_path,
        check=False,
    )
    return done, caught.read_text() if caught.exists() else ""


def payload(text):
    last = text.rstrip().splitlines()[-1]
    match = re.fullmatch(r"raise SystemExit\(main\((\{[ -~]+\})\)\)", last)
    assert match, last
    return ast.literal_eval(match[1])


@pytest.fixture
def fake_python(tmp_path):
    path = tmp_path / "python"
    path.write_text(FAKE_PYTHON)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("text", NASTY)
def test_no_text_of_a_user_is_shell_text(text, shell, tmp_path, fake_python):
    spec = replace(
        SPEC, python=fake_python, user=text, tag=text, report_url=text, root_dir=text, log_path=text,
        listen=text, args=(text, text), env={"X": text}, secrets=Secrets(token=text, report=text),
        tls=ServerTls(text, text, text),
    )  # fmt: skip
    script = build_job_script(spec)
    done, caught = run(script, shell, tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    found = payload(caught)
    for name in ("user", "tag", "root_dir", "log_path", "listen"):
        assert found[name] == text
    assert found["args"] == [text, text]
    assert found["env"] == {"X": text}
    files = found["files"]
    inside = json.loads(files["spec.json"])
    assert [inside[n] for n in ("user", "report_url", "token", "report_secret")] == [text] * 4
    assert [files[f"tls/{n}.pem"] for n in inside["tls"]] == [text] * 3
    assert caught.splitlines()[:4] == ["ARG -I", "ARG -S", "ARG -", caught.splitlines()[3]]
    assert not [line for line in script.splitlines() if line.startswith("#SBATCH")]


@pytest.mark.parametrize("text", NASTY)
def test_no_sbatch_directive_can_be_smuggled_in(text):
    """sbatch takes directives only from before the first command, which is ours and stands in line 3."""
    script = build_job_script(replace(SPEC, prologue=f"#!/bin/bash\n#SBATCH --uid=0\n{text}", root_dir=text))
    head = script.splitlines()[:3]
    assert head[0] == "#!/bin/bash"
    assert head[1].startswith("# minihub")
    assert head[2].startswith("unset ")
    assert "\r" not in script
    assert "\0" not in script


@settings(max_examples=60, deadline=None)
@given(user=st.text(), prologue=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_text_leaves_the_first_lines_alone(user, prologue):
    script = build_job_script(replace(SPEC, user=user, prologue=prologue))
    lines = script.split("\n")
    assert lines[0].startswith("#!")
    assert lines[2] == "unset SLURM_EXPORT_ENV SBATCH_EXPORT JUPYTER_NO_CONFIG"
    assert "\r" not in script


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_bin_dir_and_modules_may_hold_anything_but_line_ends(shell, tmp_path):
    odd = tmp_path / 'b in\'s $(id) "x"'
    odd.mkdir()
    for name in ("jupyter", "python3"):
        (odd / name).write_text(
            FAKE_PYTHON
            if name == "python3"
            else f"#!/bin/sh\n'''exec' \"{odd}/python3\" \"$0\" \"$@\"\n' '''\n"
        )
        (odd / name).chmod(0o755)
    spec = replace(
        SPEC, bin_dir=str(odd), modules=("a'b $(id)", "c"), prologue='module() { echo "$#:$2:$3"; }'
    )
    if '"' in str(odd):  # pip's own quoting cannot carry a double quote either
        spec = replace(spec, python=str(odd / "python3"))
    done, caught = run(build_job_script(spec), shell, tmp_path)
    assert done.stdout.decode() == "3:a'b $(id):c\n"
    assert payload(caught)["user"] == "ada"


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize(
    "first_lines",
    [
        "#!{python}\n",
        "#! {python} -s\n",
        "#!/usr/bin/env python3\n",
        "#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n",
        "#!/bin/sh\n'''exec' {python} \"$0\" \"$@\"\n' '''\n",
    ],
)
def test_the_interpreter_is_read_from_jupyter(first_lines, shell, tmp_path):
    folder = tmp_path / "some where" if "exec' \"" in first_lines else tmp_path / "somewhere"
    folder.mkdir()
    python = folder / "python3"
    python.write_text(FAKE_PYTHON)
    (folder / "jupyter").write_text(first_lines.format(python=python) + "import jupyter\n")
    for file in folder.iterdir():
        file.chmod(0o755)

    for bin_dir in (str(folder), ""):
        (tmp_path / "caught").unlink(missing_ok=True)
        script = build_job_script(replace(SPEC, bin_dir=bin_dir))
        done, caught = run(script, shell, tmp_path, PATH=f"{folder}:/usr/bin:/bin")
        assert done.stderr == b""
        assert caught.startswith('ARG -I\nARG -S\nARG -\n"""')


@pytest.mark.parametrize(
    "text", ["#!/bin/sh\nexec apptainer run x\n", "#!/usr/bin/perl\n", "\x7fELF\x00\x01\n\n", ""]
)
def test_where_the_interpreter_cannot_be_told_jupyter_is_named(text, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").write_text(FAKE_PYTHON)
    (folder / "jupyter").write_text(text)
    for file in folder.iterdir():
        file.chmod(0o755)
    script = build_job_script(replace(SPEC, bin_dir=str(folder)))
    _, caught = run(script, "sh", tmp_path, PATH=f"{folder}:/usr/bin:/bin")
    assert caught.splitlines()[3] == f"ARG {folder}/jupyter"


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_missing_things_are_named(shell, tmp_path):
    done, _ = run(build_job_script(SPEC), shell, tmp_path, PATH="/usr/bin:/bin")
    assert done.returncode == 127
    assert b"there is no jupyter on" in done.stderr
    assert b"PATH=/usr/bin:/bin" in done.stderr

    done, _ = run(build_job_script(replace(SPEC, python="/nowhere/python")), shell, tmp_path)
    assert done.returncode == 127
    assert b"/nowhere/python" in done.stderr

    failing = replace(SPEC, prologue="module() { return 1; }", modules=("no such",))
    done, _ = run(build_job_script(failing), shell, tmp_path)
    assert done.returncode == 1
    assert b"module load no such failed" in done.stderr


def test_the_script_itself_is_never_too_big_for_slurm():
    assert len(build_job_script(SPEC)) < 200_000


@pytest.mark.parametrize(
    "changes",
    [
        {"interface": "rstudio"},
        {"env": {"A B": "x"}},
        {"env": {"A=B": "x"}},
        {"env": {"A": "x\0"}},
        {"prologue": "a\0b"},
        {"modules": ("a\nb",)},
        {"bin_dir": "/a\n/b"},
        {"base_url": "/user/ada"},
        {"base_url": "user/ada/"},
        {"hub_prefix": "/hub?/"},
    ],
)
def test_what_no_script_can_hold_is_refused(changes):
    with pytest.raises(ConfigError):
        build_job_script(replace(SPEC, **changes))


def test_every_interface_has_a_path():
    assert [default_path(i) for i in INTERFACES] == ["lab", "tree", "nbclassic/tree", "terminals/1"]
    assert default_path("unheard of") == ""


def test_the_proof_is_the_same_on_both_sides():
    """jobscript.py and launcher/inside.py each compute it; they must agree."""
    nonce = os.urandom(16).hex()
    theirs = hmac.new(inside.proof_key("secret"), nonce.encode(), hashlib.sha256).hexdigest()
    assert proof_answer("secret", nonce) == theirs
    assert verify_proof("secret", nonce, theirs + "\n")
    assert build_proof_path("/user/ada/", nonce) == f"/user/ada/minihub-proof?nonce={nonce}"


@pytest.mark.parametrize("answer", ["", "é", "0" * 64])
def test_wrong_answers_prove_nothing(answer):
    assert not verify_proof("secret", "ab" * 16, answer)
    assert not verify_proof("secret", "short", proof_answer("secret", "short"))
