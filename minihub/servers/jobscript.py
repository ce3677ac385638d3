"""The job script: the launcher and its settings as one `sh` script. Pure.

    #!/bin/sh
    prologue, modules        the admin's shell text
    find Jupyter             and the interpreter it runs in
    exec python - <<'...'    launch.py, then one line that calls its `main` with all settings

Nothing that a user typed is ever shell text, and nothing secret is ever an argument. `sbatch` reads the script on
standard input and takes `#SBATCH` lines only from before the first command: there is a command in line 3.

The stub needs nothing but a POSIX shell. A prologue that needs bash says so in a first line `#!/bin/bash`, which then
is the script's. `module` is found as /etc/profile defines it if the shell does not know it; the user's own start-up files
are never read.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import shlex
from dataclasses import asdict, dataclass, field

from minihub import launcher
from minihub.errors import ConfigError
from minihub.servers.model import Secrets, ServerTls

INTERFACES = ("lab", "notebook", "nbclassic", "terminal")
_PATHS = {"lab": "lab", "notebook": "tree", "nbclassic": "nbclassic/tree", "terminal": "terminals/1"}
_NONCE = re.compile(r"^[0-9a-f]{16,128}$")


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """All that one job needs to know."""

    user: str
    tag: str
    base_url: str
    """Path of the server on the hub, base path included, with both slashes: "/user/alice/"."""
    hub_prefix: str
    """Path of the hub's pages: "/hub/", or "/jupyter/hub/" under a base path."""
    interface: str
    """One of INTERFACES. If it is not installed on the node, the nearest one there is."""
    secrets: Secrets = field(repr=False)
    tls: ServerTls | None = field(default=None, repr=False)
    """None: plain TCP, or a unix socket."""
    report_url: str | None = None
    """Where the launcher POSTs {"secret", "port"}; None: nowhere. On a unix socket it reports port 0."""
    report_pin: str | None = None
    """SHA-256 (hex) of the hub's TLS certificate in DER; the report goes to nobody else."""
    comment_report: bool = False
    """Write "TAG PORT" into the Slurm job's comment, unless the hub takes the POST within a second."""
    listen: str | None = None
    """Path of a unix socket; None: TCP, a free port, all addresses."""
    log_path: str = ""
    """Where the job's output goes, with %j for the job id: a clean end removes the log. "": it stays."""
    bin_dir: str = ""
    python: str = ""
    modules: tuple[str, ...] = ()
    prologue: str = ""
    env: dict[str, str] = field(default_factory=dict)
    args: tuple[str, ...] = ()
    root_dir: str = ""
    """May hold {home}, {user} or a leading ~; filled in on the node."""
    rescue: bool = False
    """Keep off all files of the user's own but his data: no Jupyter configuration, no start-up files."""
    scontrol: str = "scontrol"


def default_path(interface: str) -> str:
    """The path below base_url that shows `interface`.

    All of these work on every server: the launcher redirects where the page is not installed. "" (base_url itself) leads
    to the interface that the server was started with.
    """
    return _PATHS.get(interface, "")


def build_job_script(spec: LaunchSpec) -> str:
    """Build the script of one job. It holds secrets: standard input only, never argv, never a log.

    Raises:
        ConfigError: A setting cannot be written into a script.
    """
    _check(spec)
    shebang, prologue = _split_prologue(spec.prologue)
    # A literal, all ASCII, in one line: the launcher needs no decoder for it.
    program = f"{launcher.source('launch.py').rstrip()}\n\n\nraise SystemExit(main({_settings(spec)!a}))\n"
    delimiter = f"MINIHUB_{hashlib.sha256(program.encode()).hexdigest()[:32]}"
    parts = [
        shebang,
        "# minihub: starts the user's Jupyter server. Made by the hub; no user's text is shell text here.",
        "unset SLURM_EXPORT_ENV SBATCH_EXPORT JUPYTER_NO_CONFIG",
        prologue,
        _module_lines(spec.modules),
        _STUB.replace("@BIN_DIR@", shlex.quote(spec.bin_dir)).replace("@PYTHON@", shlex.quote(spec.python)),
        f'exec "$minihub_python" -I -S - "$@" <<\'{delimiter}\'',
        program + delimiter,
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _check(spec: LaunchSpec) -> None:
    if spec.interface not in INTERFACES:
        raise ConfigError(f"interface: {spec.interface!r} is none of {', '.join(INTERFACES)}")
    for name in spec.env:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ConfigError(f"jupyter.env: {name!r} is not a variable name")
    words = {"bin_dir": spec.bin_dir, "python": spec.python, "prologue": spec.prologue}
    words |= {"modules": " ".join(spec.modules), "args": " ".join(spec.args), "root_dir": spec.root_dir}
    words |= {f"env.{name}": value for name, value in spec.env.items()}
    for name, text in words.items():
        if "\0" in text or (name in ("bin_dir", "python", "modules") and "\n" in text):
            raise ConfigError(f"jupyter.{name}: holds a character that no job script can hold")
    if not re.fullmatch(r"/([^/\s?#]+/)*", spec.base_url) or not re.fullmatch(
        r"/([^/\s?#]+/)*", spec.hub_prefix
    ):
        raise ConfigError("base_url and hub_prefix begin and end with a slash")


def _split_prologue(prologue: str) -> tuple[str, str]:
    # sbatch refuses a script with DOS line ends.
    text = prologue.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    if text.startswith("#!"):
        first, _, rest = text.partition("\n")
        return first, rest
    return "#!/bin/sh", text


def _module_lines(modules: tuple[str, ...]) -> str:
    if not modules:
        return ""
    names = " ".join(shlex.quote(name) for name in modules)
    return _MODULES.replace("@NAMES@", names)


def _settings(spec: LaunchSpec) -> dict[str, object]:
    """What the launcher is told: strings, numbers and plain containers. `files` go into the runtime directory."""
    tls = asdict(spec.tls) if spec.tls else {}
    shared: dict[str, object] = {
        name: getattr(spec, name) for name in ("user", "base_url", "interface", "listen", "rescue")
    }
    inside = {
        **shared,
        **{name: getattr(spec, name) for name in ("hub_prefix", "report_url", "report_pin")},
        "token": spec.secrets.token,
        "report_secret": spec.secrets.report,
        "tls": list(tls),
    }
    return {
        **shared,
        **{
            name: getattr(spec, name)
            for name in ("tag", "comment_report", "log_path", "root_dir", "scontrol")
        },
        "env": dict(spec.env),
        "args": list(spec.args),
        "reports": bool(spec.report_url),
        "files": {
            "spec.json": json.dumps(inside),
            "minihub_inside.py": launcher.source("inside.py"),
            "minihub_report.py": launcher.source("report.py"),
            **{f"tls/{name}.pem": text for name, text in tls.items()},
        },
    }


def build_proof_path(base_url: str, nonce: str) -> str:
    """The path, with query, that asks a server to prove itself. `nonce`: 16 to 128 lower-case hex digits, random."""
    return f"{base_url}minihub-proof?nonce={nonce}"


def proof_answer(secret: str, nonce: str) -> str:
    """What the right server answers. `proof_key` in minihub/launcher/inside.py is the other half."""
    key = hmac.new(secret.encode(), b"minihub-proof-key", hashlib.sha256).digest()
    return hmac.new(key, nonce.encode(), hashlib.sha256).hexdigest()


def verify_proof(secret: str, nonce: str, answer: str) -> bool:
    """Whether `answer` comes from the server that was given the report secret `secret` (`Secrets.report`)."""
    if not _NONCE.match(nonce):
        return False
    return hmac.compare_digest(proof_answer(secret, nonce).encode(), answer.strip().encode())


_MODULES = """\
if ! command -v module >/dev/null 2>&1; then
  . /etc/profile >/dev/null
fi
module load @NAMES@ || { echo "minihub: module load "@NAMES@" failed on $(hostname)" >&2; exit 1; }"""

# Prints the interpreter that a script such as `jupyter` names in its first line. pip writes that line in two forms: the
# second, for long paths and paths with spaces, is a sh script that executes the interpreter on itself.
_STUB = """\
minihub_interpreter() {
  { IFS= read -r minihub_1 && IFS= read -r minihub_2; } <"$1" 2>/dev/null || return 1
  case $minihub_1 in
  '#!'*/env\\ python*) command -v "${minihub_1##* }" ;;
  '#!'*/python*|'#!'*/pypy*)
    minihub_1=${minihub_1#'#!'}
    minihub_1=${minihub_1#' '}
    echo "${minihub_1%% *}" ;;
  '#!/bin/sh')
    case $minihub_2 in
    "'''exec' \\""*) minihub_2=${minihub_2#*\\"}; echo "${minihub_2%%\\"*}" ;;
    "'''exec' /"*) minihub_2=${minihub_2#*"exec' "}; echo "${minihub_2%% *}" ;;
    esac ;;
  esac
}
minihub_bin=@BIN_DIR@
minihub_python=@PYTHON@
minihub_jupyter=
set --
for minihub_name in jupyter jupyter-lab jupyter-server jupyter-notebook; do
  if [ -n "$minihub_bin" ]; then
    [ -x "$minihub_bin/$minihub_name" ] && minihub_jupyter=$minihub_bin/$minihub_name
  else
    minihub_jupyter=$(command -v "$minihub_name")
  fi
  [ -n "$minihub_jupyter" ] && break
done
if [ -z "$minihub_python" ] && [ -n "$minihub_jupyter" ]; then
  minihub_python=$(minihub_interpreter "$minihub_jupyter")
fi
if [ -z "$minihub_python" ] || [ ! -x "$minihub_python" ]; then
  if [ -z "$minihub_jupyter" ]; then
    echo "minihub: there is no jupyter on $(hostname) that $(id -un) may run, in ${minihub_bin:-PATH=$PATH}${minihub_python:+, nor $minihub_python}" >&2
    exit 127
  fi
  set -- "$minihub_jupyter"
  minihub_python=$(command -v python3 || command -v python)
fi
if [ -z "$minihub_python" ]; then
  echo "minihub: there is no Python for the launcher on $(hostname) in PATH=$PATH" >&2
  exit 127
fi"""
