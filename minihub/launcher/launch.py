"""Starts Jupyter in the job, tells the hub where it listens, and leaves nothing behind.

Runs inside the job: Python >= 3.8, standard library only, no import of minihub. The job script feeds this file to the
interpreter's standard input and appends a call of `main` with the settings. See the room's docstring for the why.

Longer than other modules since it is one: what is read from standard input can import no part of its own.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
import sys
import time

try:
    # `signal` itself makes an enum of every name, which takes as long as half of Python's own start.
    import _signal as signal
except ImportError:
    import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional, Tuple

# Every import costs each job's start: no `json`, `re`, `socket`, `ssl` or `threading`, which Jupyter's own process has
# anyway; `select` comes after Jupyter's start.

JUPYTER_GRACE_S = 8.0
"""How long Jupyter may take to shut its kernels down. Slurm's KillWait, 30 s by default, ends everything."""
TERM_GRACE_S = 1.5
"""How long other processes may take after SIGTERM, before SIGKILL."""
PULL_AFTER_S = 1.0
"""The report goes into the job's comment if the hub has not taken it directly within this time."""
COMMENT_TRIES = 6
KEPT_LOGS = 5
ENDED_AS_ASKED = "ended as asked: stopped, cancelled, or at its time limit"
"""The last words of a log that the next start removes, whatever their number."""

PR_SET_CHILD_SUBREAPER = 36

CONFIG_STUB = """\
# Written by minihub for this job only.
import importlib.util, sys
if "minihub_inside" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("minihub_inside", {path!r})
    _module = importlib.util.module_from_spec(_spec)
    sys.modules["minihub_inside"] = _module
    _spec.loader.exec_module(_module)
sys.modules["minihub_inside"].configure(c)
"""

NBCLASSIC_PAGE = """\
{% extends "templates/page.html" %}
{% block login_widget %}
<style>#newsId { display: none !important }</style>
<span id="minihub_widget"><a href="{{ hub_home }}" target="_blank" rel="noopener" id="minihub-control-panel"
  class="btn btn-default btn-sm navbar-btn">Control Panel</a></span>
{{ super() }}
{% endblock %}
"""

# Variables that would change how our Jupyter starts, or spoil an sbatch or srun from a terminal in it.
UNWANTED = (
    "JUPYTER_NO_CONFIG",
    "JUPYTER_TOKEN",
    "JUPYTER_TOKEN_FILE",
    "JUPYTER_PORT",
    "SLURM_EXPORT_ENV",
    "SBATCH_EXPORT",
)
UNWANTED_IN_RESCUE = (
    "JUPYTER_CONFIG_PATH",
    "PYTHONINSPECT",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "PYTHONBREAKPOINT",
    "BASH_ENV",
    "ENV",
)


class LaunchError(Exception):
    """Jupyter cannot be started; the text goes to the job's log, whose end the hub shows."""


def say(text: str) -> None:
    """Write one line to the job's log; a log that cannot be written (full disk) is no reason to fail."""
    try:
        print("minihub: " + text, file=sys.stderr, flush=True)
    except OSError:
        pass


# ---------------------------------------------------------------------------------------------- the runtime directory


def runtime_parents() -> Iterator[str]:
    """Where the runtime directory may lie, best first: node-local, and the home directory never."""
    for name in ("SLURM_TMPDIR", "TMPDIR"):
        if os.environ.get(name):
            yield os.environ[name]
    yield from ("/tmp", "/var/tmp", "/dev/shm")


def write_file(path: str, text: str) -> None:
    """Write a new file that only its owner reads."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        data = text.encode("utf-8")
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)


def make_runtime_dir(spec: Dict[str, Any]) -> str:
    """Make the runtime directory and all files in it, in the first place that takes them.

    Raises:
        LaunchError: No place does.
    """
    problems = []
    for parent in runtime_parents():
        path = os.path.join(parent, "minihub-" + os.urandom(8).hex())
        try:
            os.mkdir(path, 0o700)
        except OSError as error:
            problems.append("%s: %s" % (parent, error.strerror))
            continue
        try:
            fill_runtime_dir(path, spec)
        except OSError as error:
            problems.append("%s: %s" % (parent, error.strerror))
            remove_tree(path)
            continue
        return path
    raise LaunchError("no directory on this node takes the server's runtime files (%s)" % "; ".join(problems))


def fill_runtime_dir(path: str, spec: Dict[str, Any]) -> None:
    """Write the configuration of this one Jupyter server."""
    module = os.path.join(path, "minihub_inside.py")
    files = dict(spec["files"])
    files["config/jupyter_server_config.py"] = CONFIG_STUB.format(path=module)
    files["templates/page.html"] = NBCLASSIC_PAGE
    folders = ["runtime", *dict.fromkeys(os.path.dirname(name) for name in files)]
    if spec["rescue"]:
        folders += ["rescue"] + ["rescue/" + name for name in ("config", "data", "ipython", "cache")]
    for folder in folders:
        if folder:
            os.mkdir(os.path.join(path, folder), 0o700)
    for name, text in files.items():
        write_file(os.path.join(path, name), text)
    os.mkfifo(os.path.join(path, "notify"), 0o600)


def remove_tree(path: str) -> None:
    """Remove a directory of ours with all that is in it; never follows a link."""
    for folder, folders, files in os.walk(path, topdown=False):
        for name in files + folders:
            entry = os.path.join(folder, name)
            try:
                if os.path.isdir(entry) and not os.path.islink(entry):
                    os.rmdir(entry)
                else:
                    os.unlink(entry)
            except OSError:
                pass
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno != errno.ENOENT:
            say("%s is left behind: %s" % (path, error.strerror))


# ------------------------------------------------------------------------------------------------- how Jupyter starts


def fill_in(text: str, spec: Dict[str, Any]) -> str:
    """Fill {home} and {user} in, and a leading ~."""
    home = os.path.expanduser("~")
    return os.path.expanduser(text.replace("{home}", home).replace("{user}", spec["user"]))


def login_shell() -> str:
    """The user's login shell; "" where there is none that works."""
    try:
        shell = pwd.getpwuid(os.getuid()).pw_shell
    except KeyError:
        return ""
    usable = os.path.basename(shell) not in ("nologin", "false") and os.access(shell, os.X_OK)
    return shell if usable else ""


def build_environment(spec: Dict[str, Any], runtime: str) -> Dict[str, str]:
    """The environment of Jupyter and of all its kernels and terminals: no secret in it."""
    environment = {k: v for k, v in os.environ.items() if k not in UNWANTED}
    if spec["rescue"]:
        environment = {k: v for k, v in environment.items() if k not in UNWANTED_IN_RESCUE}
    # The hub submits with an environment of its own making; without this, terminals would run plain sh.
    shell = login_shell()
    if shell:
        environment.setdefault("SHELL", shell)
    environment.update(spec["env"])
    if spec["rescue"]:
        own = os.path.join(runtime, "rescue")
        environment["JUPYTER_CONFIG_DIR"] = os.path.join(own, "config")
        environment["JUPYTER_DATA_DIR"] = os.path.join(own, "data")
        environment["IPYTHONDIR"] = os.path.join(own, "ipython")
        environment["XDG_CACHE_HOME"] = os.path.join(own, "cache")
        environment["PYTHONNOUSERSITE"] = "1"
    # Ours comes first, so it outranks the user's ~/.jupyter, which is still read.
    paths = [os.path.join(runtime, "config"), environment.get("JUPYTER_CONFIG_PATH", "")]
    environment["JUPYTER_CONFIG_PATH"] = os.pathsep.join(p for p in paths if p)
    environment["JUPYTER_RUNTIME_DIR"] = os.path.join(runtime, "runtime")
    return environment


def build_arguments(spec: Dict[str, Any]) -> List[str]:
    """Jupyter's arguments: what must outrank every configuration file, and nothing secret (ps shows them)."""
    arguments = [
        "--no-browser",
        "--ServerApp.base_url=" + spec["base_url"],
        "--ServerApp.port_retries=0",
    ]
    if spec["listen"]:
        # With a socket Jupyter insists on its default port, whatever the user's own configuration says.
        mode = "0660" if os.stat(os.path.dirname(spec["listen"])).st_mode & stat.S_ISGID else "0600"
        arguments += [
            "--ServerApp.port=8888",
            "--ServerApp.sock=" + spec["listen"],
            "--ServerApp.sock_mode=" + mode,
        ]
    else:
        arguments += ["--ServerApp.ip=*", "--ServerApp.port=0", "--ServerApp.sock="]
    if spec["root_dir"]:
        arguments.append("--ServerApp.root_dir=" + fill_in(spec["root_dir"], spec))
    return arguments + list(spec["args"])


PLAIN_APPS = {
    "lab": ("lab", "notebook", "nbclassic", "server"),
    "notebook": ("notebook", "lab", "nbclassic", "server"),
    "nbclassic": ("nbclassic", "notebook", "lab", "server"),
    "terminal": ("server", "lab", "notebook", "nbclassic"),
}


def build_command(spec: Dict[str, Any], runtime: str, jupyter: Optional[str]) -> List[str]:
    """The command that starts Jupyter.

    Args:
        spec: The settings.
        runtime: The runtime directory.
        jupyter: None if we run in Jupyter's own interpreter, else the path of a `jupyter` whose interpreter could
            not be told (a wrapper script, a container): then it is run as it is.
    """
    if jupyter is None:
        return [sys.executable, os.path.join(runtime, "minihub_inside.py"), spec["interface"]]
    for app in PLAIN_APPS[spec["interface"]]:
        path = os.path.join(os.path.dirname(jupyter), "jupyter-" + app)
        if os.access(path, os.X_OK):
            return [path]
    return [jupyter, PLAIN_APPS[spec["interface"]][0]]


def clear_socket(path: str) -> None:
    """Remove the socket of an earlier attempt.

    Raises:
        LaunchError: Something else is in the way, or the path is too long for a socket.
    """
    if len(os.fsencode(path)) > 107:
        raise LaunchError("the path of the server's socket is too long: " + path)
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise LaunchError("%s: %s" % (path, error.strerror)) from error
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.getuid():
        raise LaunchError("%s is in the way" % path)
    os.unlink(path)


# ------------------------------------------------------------------------------------------------- the job's processes


def spawn(command: List[str], environment: Dict[str, str], quiet: bool = False) -> int:
    """Start a program with nothing on its standard input; `quiet`: its output goes nowhere.

    Not `subprocess`: see the imports.

    Returns:
        Its pid.

    Raises:
        OSError: It cannot be started.
    """
    actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    if quiet:
        actions.append((os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0))
    # Python ignores these two; other programs expect them as they are by default.
    default = [signal.SIGPIPE, signal.SIGXFSZ]
    return os.posix_spawnp(command[0], command, environment, file_actions=actions, setsigdef=default)


def become_subreaper() -> None:
    """Orphans become our children, so that none is lost; without it (old kernels) only children are found."""
    arguments = (PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        # What `ctypes` is made of, at a fifth of its price.
        import _ctypes

        _ctypes.call_function(_ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl"), arguments)
        return
    except (ImportError, AttributeError, TypeError, OSError):
        pass
    try:
        import ctypes

        ctypes.CDLL(None).prctl(*arguments)
    except (ImportError, OSError, AttributeError):
        say("this system has no child subreaper")


def descendants() -> List[int]:
    """All processes below this one."""
    children = {}  # type: Dict[int, List[int]]
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % name, "rb") as file:
                fields = file.read().rpartition(b") ")[2].split()
        except OSError:
            continue
        if fields and fields[0] != b"Z":
            children.setdefault(int(fields[1]), []).append(int(name))
    found = []  # type: List[int]
    queue = [os.getpid()]
    while queue:
        for pid in children.get(queue.pop(), []):
            found.append(pid)
            queue.append(pid)
    return found


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except OSError:
        pass


def exit_status(wait_status: int) -> int:
    """A shell's view of a wait status: 128+N after signal N."""
    if os.WIFSIGNALED(wait_status):
        return 128 + os.WTERMSIG(wait_status)
    return os.WEXITSTATUS(wait_status)


# --------------------------------------------------------------------------------------------------- the job's own log


def own_log(spec: Dict[str, Any]) -> Optional[str]:
    """The path of this job's log, if it certainly is ours: a regular file of ours that our output goes to, named so."""
    if "%j" not in os.path.basename(spec["log_path"]):
        return None
    try:
        path = os.readlink("/proc/self/fd/1")
        found, output = os.lstat(path), os.fstat(1)
    except OSError:
        return None
    same = (found.st_dev, found.st_ino) == (output.st_dev, output.st_ino)
    if not same or not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid():
        return None
    return path if is_log_name(os.path.basename(path), spec) else None


def is_log_name(name: str, spec: Dict[str, Any]) -> bool:
    """Whether a log of ours may have this name: a job id where the setting has %j."""
    before, _, after = os.path.basename(spec["log_path"]).partition("%j")
    job = name[len(before) : len(name) - len(after)]
    word = job.replace("_", "").replace("-", "").replace(".", "")
    return name == before + job + after and job != "" and (word + "0").isalnum() and word.isascii()


def last_words(path: str) -> str:
    """The end of a log; "" if it cannot be read."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 200))
            return file.read().decode("utf-8", "replace").rstrip()
    except OSError:
        return ""


def prune_logs(spec: Dict[str, Any]) -> None:
    """Remove the logs of earlier jobs that ended as asked, and of the others all but the newest."""
    own = own_log(spec)
    if own is None:
        return
    folder, old = os.path.dirname(own), []  # type: Tuple[str, List[Tuple[float, str]]]
    try:
        for entry in os.scandir(folder):
            if entry.path == own or not is_log_name(entry.name, spec):
                continue
            found = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid():
                continue
            if last_words(entry.path).endswith(ENDED_AS_ASKED):
                os.unlink(entry.path)
            else:
                old.append((found.st_mtime, entry.path))
        for _, path in sorted(old, reverse=True)[KEPT_LOGS:]:
            os.unlink(path)
    except OSError:
        pass


# --------------------------------------------------------------------------------------------------------------- main


class Launcher:
    """One Jupyter server, from its start to the end of its last process."""

    def __init__(self, spec: Dict[str, Any], jupyter: Optional[str]) -> None:
        self.spec = spec
        self.jupyter = jupyter
        self.runtime = None  # type: Optional[str]
        self.pid = None  # type: Optional[int]
        self.status = None  # type: Optional[int]
        self.stop_asked = False
        self.stop_deadline = None  # type: Optional[float]
        self.port = None  # type: Optional[int]
        self.push_taken = False
        self.push_failed = False
        self.pull_at = None  # type: Optional[float]
        self.comment = None  # type: Optional[int]
        self.comment_tries = 0
        self.wake_read, self.wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> int:
        """Run to the end.

        Returns:
            The exit status of the job.
        """
        signal.set_wakeup_fd(self.wake_write)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self.on_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            self.runtime = make_runtime_dir(self.spec)
            self.start()
            # Jupyter takes its time: what is not needed for its start comes now.
            become_subreaper()
            prune_logs(self.spec)
            self.watch()
        except LaunchError as error:
            say(str(error))
            self.status = 1
        finally:
            self.end_descendants()
            if self.runtime:
                remove_tree(self.runtime)
        return self.finish()

    def on_stop(self, *_: Any) -> None:
        """A signal asks for the end."""
        self.stop_asked = True

    def start(self) -> None:
        """Start Jupyter."""
        assert self.runtime is not None
        if self.spec["listen"]:
            clear_socket(self.spec["listen"])
        # Held open for writing too, so that it never reads as ended.
        self.notify = os.open(os.path.join(self.runtime, "notify"), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        command = build_command(self.spec, self.runtime, self.jupyter) + build_arguments(self.spec)
        try:
            self.pid = spawn(command, build_environment(self.spec, self.runtime))
        except OSError as error:
            raise LaunchError("%s cannot be started: %s" % (command[0], error.strerror)) from error

    def watch(self) -> None:
        """Do what comes up until Jupyter has ended, or does not end though it should."""
        while True:
            self.reap()
            if self.status is not None:
                return
            now = time.monotonic()
            if self.stop_asked and self.stop_deadline is None:
                self.stop_deadline = now + JUPYTER_GRACE_S
                assert self.pid is not None
                send(self.pid, signal.SIGTERM)
            if self.stop_deadline is not None and now >= self.stop_deadline:
                return
            self.pull(now)
            deadlines = [d - now for d in (self.stop_deadline, self.pull_at) if d is not None]
            self.wait(max(0.0, min(deadlines)) if deadlines else None)

    def wait(self, timeout: Optional[float]) -> None:
        """Sleep until a signal, a word from Jupyter's process, or the timeout."""
        import select

        ready, _, _ = select.select([self.wake_read, self.notify], [], [], timeout)
        if self.wake_read in ready:
            os.read(self.wake_read, 4096)
        if self.notify in ready:
            for line in os.read(self.notify, 4096).splitlines():
                self.on_word(line.decode("ascii", "replace"))

    def on_word(self, line: str) -> None:
        """Jupyter's process says how far it is: that it accepts connections, what became of its report to the hub."""
        word, _, port = line.partition(" ")
        if word == "listening" and port.isdigit() and self.port is None:
            self.port = int(port)
            if self.spec["comment_report"] and os.environ.get("SLURM_JOB_ID"):
                self.pull_at = time.monotonic() + (PULL_AFTER_S if self.spec["reports"] else 0.0)
        elif word == "taken":
            self.push_taken = True
        elif word == "failed":
            self.push_failed = True

    def pull(self, now: float) -> None:
        """Write the port into the job's comment, unless the hub has taken it already."""
        if self.pull_at is None or self.comment is not None:
            return
        if self.push_taken:
            self.pull_at = None
            return
        if now < self.pull_at and not (self.push_failed and self.comment_tries == 0):
            return
        self.comment_tries += 1
        self.pull_at = None
        job = os.environ["SLURM_JOB_ID"]
        try:
            words = ["update", "jobid=" + job, "comment=%s %d" % (self.spec["tag"], self.port or 0)]
            self.comment = spawn([self.spec["scontrol"], *words], dict(os.environ), quiet=True)
        except OSError as error:
            say("%s cannot be started: %s" % (self.spec["scontrol"], error.strerror))

    def reap(self) -> bool:
        """Take note of every ended child.

        Returns:
            True while there are children.
        """
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.pid:
                self.status = exit_status(wait_status)
            if pid == self.comment:
                if wait_status and self.comment_tries < COMMENT_TRIES:
                    self.pull_at = time.monotonic() + float(self.comment_tries)
                elif wait_status:
                    say("scontrol could not write the port into the job's comment")
                self.comment = None

    def end_descendants(self) -> None:
        """End every process below this one: kernels, terminals, their background processes, orphans."""
        import select

        for number, patience in ((signal.SIGTERM, TERM_GRACE_S), (signal.SIGKILL, 5.0)):
            deadline = time.monotonic() + patience
            told = set()  # type: set[int]
            while self.reap() and time.monotonic() < deadline:
                for pid in descendants():
                    if pid not in told:
                        told.add(pid)
                        send(pid, number)
                        send(pid, signal.SIGCONT)
                select.select([self.wake_read], [], [], 0.05)
                try:
                    os.read(self.wake_read, 4096)
                except BlockingIOError:
                    pass

    def finish(self) -> int:
        """Say how it ended; a server that ran and was shut down in itself leaves no log.

        One that was asked to end from outside leaves it until the next start: only the hub knows whether its user wanted
        that end, and where he did not it shows him the log's.
        """
        status = self.status if self.status is not None else 128 + signal.SIGKILL
        if self.stop_asked and status in (0, 128 + signal.SIGTERM, 128 + signal.SIGKILL):
            status = 0
        if self.stop_asked:
            say(ENDED_AS_ASKED)
        elif status == 0 and self.port is not None:
            path = own_log(self.spec)
            if path:
                try:
                    os.unlink(path)
                except OSError:
                    pass
        else:
            killed = " (killed by signal %d)" % (status - 128) if status > 128 else ""
            say("Jupyter ended with exit status %d%s" % (status, killed))
        return status


def main(spec: Dict[str, Any]) -> int:
    """Run one server; called by the last line of the job script.

    Args:
        spec: The settings, as `_settings` in minihub/servers/jobscript.py makes them.
    """
    jupyter = sys.argv[1] if len(sys.argv) > 1 else None
    # `minihub check` reads this line.
    say("started on %s by %s%s" % (os.uname().nodename, sys.executable, " for " + jupyter if jupyter else ""))
    return Launcher(spec, jupyter).run()
