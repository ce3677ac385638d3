"""What minihub does inside Jupyter's own process: its configuration, one server extension, a quicker start.

Runs in Jupyter's process: Python >= 3.8, the standard library and what Jupyter itself is made of; no import of
minihub. The launcher writes this file into the runtime directory, beside `spec.json` and report.py. It is used in three ways:
`configure` is called by the configuration file there; Jupyter loads the module as a server extension (that is how
it binds the port, answers the hub's challenge and leads to the right page); and run as a program it starts Jupyter.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib
import importlib.util
import json
import os
import re
import signal
import sys
from typing import Any, Dict, List, Optional

HERE = os.path.dirname(os.path.abspath(__file__))
PR_SET_PDEATHSIG = 1

APPS = {
    "lab": ("jupyterlab.labapp", "notebook.app", "nbclassic.notebookapp", "jupyter_server.serverapp"),
    "notebook": ("notebook.app", "jupyterlab.labapp", "nbclassic.notebookapp", "jupyter_server.serverapp"),
    "nbclassic": ("nbclassic.notebookapp", "notebook.app", "jupyterlab.labapp", "jupyter_server.serverapp"),
    "terminal": ("jupyter_server.serverapp",),
}
"""The application that starts, by interface: the first one installed."""

PAGES = {
    "lab": ("lab", "tree", "nbclassic/tree"),
    "notebook": ("tree", "nbclassic/tree", "lab"),
    "nbclassic": ("nbclassic/tree", "tree", "lab"),
    "terminal": ("terminals/1", "lab", "tree", "nbclassic/tree"),
}
"""Where `/user/NAME/` leads, by interface: the first page there is."""

WORKSPACE = {
    "data": {
        "layout-restorer:data": {
            "main": {
                "dock": {"type": "tab-area", "currentIndex": 0, "widgets": ["terminal:1"]},
                "current": "terminal:1",
            },
            "left": {"collapsed": True, "widgets": []},
            "right": {"collapsed": True, "widgets": []},
        },
        "terminal:1": {"data": {"name": "1"}},
    },
    "metadata": {"id": "terminal"},
}
"""A JupyterLab workspace that shows one terminal and nothing else."""


def load_spec() -> Dict[str, Any]:
    """The settings that the launcher wrote."""
    with open(os.path.join(HERE, "spec.json"), encoding="utf-8") as file:
        spec = json.load(file)  # type: Dict[str, Any]
    return spec


def is_installed(module: str) -> bool:
    """Whether `module` can be imported, without importing it (its parent packages are)."""
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def is_ours() -> bool:
    """Whether this process is the server that the launcher started.

    The first process that asks is. Others are servers which the user starts by hand in a terminal: they inherit
    the configuration path, but have nothing to do with the hub.
    """
    path = os.path.join(HERE, "claimed")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        with open(path, encoding="ascii") as file:
            return file.read() == str(os.getpid())
    with os.fdopen(descriptor, "w") as file:
        file.write(str(os.getpid()))
    return True


def load_reporter(spec: Dict[str, Any]) -> Any:
    """This process's `Reporter` of report.py, which lies beside this file. The first call tells the hub of the job."""
    name = "minihub_report"
    if name not in sys.modules:
        found = importlib.util.spec_from_file_location(name, os.path.join(HERE, name + ".py"))
        module = importlib.util.module_from_spec(found)  # type: ignore[arg-type]
        sys.modules[name] = module
        found.loader.exec_module(module)  # type: ignore[union-attr]
    return sys.modules[name].start(spec, os.path.join(HERE, "notify"))


# -------------------------------------------------------------------------------------------------- the configuration


def configure(c: Any) -> None:
    """Fill Jupyter's configuration object; called by the configuration file that outranks the user's own."""
    if not is_ours():
        return
    spec = load_spec()
    load_reporter(spec)
    c.ServerApp.jpserver_extensions.update(extensions(spec))
    # JupyterLab and Notebook 7 show "Hub Control Panel" and "Log Out" where these three are set.
    c.ServerApp.tornado_settings.update(
        {"hub_prefix": spec["hub_prefix"], "hub_host": "", "user": spec["user"]}
    )
    c.ServerApp.quit_button = False
    c.ServerApp.open_browser = False
    c.ServerApp.allow_remote_access = True
    c.ServerApp.trust_xheaders = True
    c.LabApp.news_url = None
    c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
    c.NotebookApp.extra_template_paths = [os.path.join(HERE, "templates")]
    c.ServerApp.jinja_template_vars.update({"hub_home": spec["hub_prefix"] + "home"})
    protect(c, spec)
    write_page_config()
    if spec["rescue"]:
        shell = ["/bin/bash", "--noprofile", "--norc"] if os.access("/bin/bash", os.X_OK) else ["/bin/sh"]
        c.ServerApp.terminado_settings = {"shell_command": shell}
        # To find language servers it runs npm, which writes to the home directory even if it finds nothing.
        c.LanguageServerManager.autodetect = False


def extensions(spec: Dict[str, Any]) -> Dict[str, bool]:
    """The server extensions to switch on or off; the others are as the site and the user have them."""
    chosen = {"minihub_inside": True}
    if is_installed("jupyter_server_terminals"):
        chosen["jupyter_server_terminals"] = True
    if spec["interface"] == "terminal":
        # nbclassic's terminal page is a terminal and nothing else; Notebook 7 would answer the same path.
        if is_installed("nbclassic"):
            chosen.update({"nbclassic": True, "notebook": False})
        elif is_installed("notebook.app"):
            chosen["notebook"] = True
        elif is_installed("jupyterlab"):
            chosen["jupyterlab"] = True
    return chosen


def protect(c: Any, spec: Dict[str, Any]) -> None:
    """Set what keeps others out, where the user's own configuration cannot unset it."""
    tls = {name: os.path.join(HERE, "tls", name + ".pem") for name in spec["tls"]}
    c.ServerApp.certfile = tls.get("certificate", "")
    c.ServerApp.keyfile = tls.get("key", "")
    c.ServerApp.client_ca = tls.get("client", "")
    if tls:
        import ssl

        c.ServerApp.ssl_options = {"cert_reqs": ssl.CERT_REQUIRED}
    else:
        c.ServerApp.ssl_options = {}
    try:
        c.ServerApp.identity_provider_class = make_identity_provider(spec)
    except ImportError:  # jupyter_server 1.x
        c.ServerApp.token = spec["token"]
        c.ServerApp.password = ""
        c.ServerApp.password_required = False
        c.ServerApp.allow_password_change = False


def make_identity_provider(spec: Dict[str, Any]) -> type:
    """Make the class that says who is asking: whoever shows the token is the user, nobody else is anybody.

    Its token and password are no configurable traits, so no configuration file can empty them.
    """
    from jupyter_server.auth.identity import PasswordIdentityProvider, User
    from traitlets import Bool, Unicode

    class HubIdentityProvider(PasswordIdentityProvider):
        token = Unicode(spec["token"])
        hashed_password = Unicode("")
        password_required = Bool(False)
        allow_password_change = Bool(False)
        token_generated = False

        @property
        def auth_enabled(self) -> bool:
            return True

        def generate_anonymous_user(self, handler: Any) -> Any:
            name = spec["user"]
            return User(name, name, name, name[:2].upper(), None, None)

        def set_login_cookie(self, handler: Any, user: Any) -> None:
            """Every request comes with the token: a cookie would only be one more key."""

        def get_user_cookie(self, handler: Any) -> None:
            """None, see above."""
            return

        def validate_security(self, app: Any, ssl_options: Optional[Dict[str, Any]] = None) -> None:
            """`verify` does it."""

    return HubIdentityProvider


def write_page_config() -> None:
    """Switch off what the front ends should not load."""
    disabled = {"@jupyterlab/apputils-extension:announcements": True}
    if is_installed("jupyterlmod"):
        # It brings its own copy, and two of them fail: "Command 'server-proxy:open' already registered".
        disabled["@jupyterhub/jupyter-server-proxy"] = True
    folder = os.path.join(HERE, "config", "labconfig")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with open(os.path.join(folder, "page_config.json"), "w", encoding="utf-8") as file:
        json.dump({"disabledExtensions": disabled}, file)


# ----------------------------------------------------------------------------------------------- the server extension


def _jupyter_server_extension_points() -> List[Dict[str, str]]:
    return [{"module": "minihub_inside"}]


def _load_jupyter_server_extension(serverapp: Any) -> None:
    spec = load_spec()
    verify(serverapp, spec)
    add_handlers(serverapp, spec)
    sockets = [] if spec["listen"] else take_port(serverapp)
    # Jupyter queues its own binding after this; so the second turn of the loop finds it done.
    loop = serverapp.io_loop
    loop.add_callback(lambda: loop.add_callback(tell_port, serverapp, spec, sockets))


load_jupyter_server_extension = _load_jupyter_server_extension  # as jupyter_server 1.x calls it


def verify(serverapp: Any, spec: Dict[str, Any]) -> None:
    """End here, with a reason, if any configuration has undone what the hub relies on."""
    wrong = []
    provider = getattr(serverapp, "identity_provider", None)
    token = provider.token if provider is not None else serverapp.token
    named = type(provider).__name__ if provider is not None else "HubIdentityProvider"
    if token != spec["token"] or named != "HubIdentityProvider":
        wrong.append("who may log in (token, password, identity_provider_class)")
    options = serverapp.ssl_options or {}
    if spec["tls"]:
        import ssl

        expected = os.path.join(HERE, "tls", "client.pem")
        if options.get("ca_certs") != expected or options.get("cert_reqs") != ssl.CERT_REQUIRED:
            wrong.append("TLS (certfile, keyfile, client_ca, ssl_options)")
    elif options:
        wrong.append("TLS (certfile, keyfile, client_ca, ssl_options)")
    if serverapp.base_url != spec["base_url"] or (serverapp.sock or None) != spec["listen"]:
        wrong.append("where it listens (base_url, sock)")
    if wrong:
        serverapp.log.critical(
            "minihub: the Jupyter configuration changes %s. The hub cannot reach such a server safely. Remove that "
            "from the files below %s, or start in rescue mode.",
            " and ".join(wrong),
            serverapp.config_dir,
        )
        sys.exit(1)


def take_port(serverapp: Any) -> List[Any]:
    """Bind a free port once and for all, and have Jupyter use it.

    Jupyter itself would look for a free port, let it go and bind it again later.

    Returns:
        The sockets; empty if this Jupyter does not let us: then it takes a port its own way.
    """
    if not all(hasattr(serverapp, n) for n in ("_find_http_port", "_bind_http_server_tcp")):
        return []
    from tornado.netutil import bind_sockets

    for attempt in range(10):
        try:
            sockets = bind_sockets(0, "")
            break
        except OSError:  # free for one address family, but not for the other
            if attempt == 9:
                raise

    def bind() -> bool:
        serverapp.http_server.add_sockets(sockets)
        return True

    serverapp.port = sockets[0].getsockname()[1]
    serverapp._find_http_port = lambda: None
    serverapp._bind_http_server_tcp = bind
    return sockets


def tell_port(serverapp: Any, spec: Dict[str, Any], sockets: List[Any]) -> None:
    """Say that connections are accepted, and where."""
    port = sockets[0].getsockname()[1] if sockets else (0 if serverapp.sock else serverapp.port)
    if not load_reporter(spec).listening(port):
        serverapp.log.error("minihub: the launcher does not listen")


def proof_key(secret: str) -> bytes:
    """The key of the challenge. `proof_answer` in minihub/servers/jobscript.py computes the same."""
    return hmac.new(secret.encode(), b"minihub-proof-key", hashlib.sha256).digest()


def add_handlers(serverapp: Any, spec: Dict[str, Any]) -> None:
    """Answer the hub's challenge, and make every front page lead somewhere."""
    from tornado import web

    def allow_unauthenticated(method: Any) -> Any:
        """Mark `method` as jupyter_server's decorator of this name does, which older versions do not have."""
        setattr(method, "__allow_unauthenticated", True)
        return method

    key = proof_key(spec["report_secret"])
    base = spec["base_url"]

    class ProofHandler(web.RequestHandler):
        """Shows that this server knows the job's secret, without telling it."""

        @allow_unauthenticated
        def get(self) -> None:
            nonce = self.get_query_argument("nonce", "")
            if not re.match(r"^[0-9a-f]{16,128}$", nonce):
                raise web.HTTPError(400)
            self.set_header("Content-Type", "text/plain")
            self.set_header("Cache-Control", "no-store")
            self.finish(hmac.new(key, nonce.encode(), hashlib.sha256).hexdigest())

    class ToPage(web.RequestHandler):
        """Leads to a page that exists."""

        def initialize(self, page: str) -> None:
            self.page = page

        @allow_unauthenticated
        def get(self) -> None:
            query = "?" + self.request.query if self.request.query else ""
            self.redirect(base + self.page + query)

    pages = find_pages(serverapp)
    best = next((p for p in PAGES[spec["interface"]] if p in pages), "")
    handlers = [(re.escape(base) + "minihub-proof", ProofHandler)]  # type: List[Any]
    if best:
        handlers.append((re.escape(base.rstrip("/")) + "/?", ToPage, {"page": best}))
    for page in ("lab", "tree", "nbclassic/tree", "terminals/1"):
        if page not in pages and best and best != page:
            handlers.append((re.escape(base + page) + "/?", ToPage, {"page": best}))
    if "terminals/1" in pages and pages["terminals/1"] is None:
        handlers.append((re.escape(base) + "terminals/1", make_workspace_handler(serverapp, base)))
    serverapp.web_app.add_handlers(".*$", handlers)


def find_pages(serverapp: Any) -> Dict[str, Any]:
    """Which front pages this server has: path -> the extension that shows it, None if we have to help."""
    linked = serverapp.extension_manager.linked_extensions
    lab, notebook, classic = (linked.get(name) for name in ("jupyterlab", "notebook", "nbclassic"))
    pages = {}  # type: Dict[str, Any]
    if lab:
        pages["lab"] = "jupyterlab"
    if notebook:
        pages["tree"] = "notebook"
    if classic:
        from nbclassic import nbclassic_path

        pages["nbclassic/tree" if nbclassic_path() else "tree"] = "nbclassic"
    if is_installed("terminado"):
        if notebook or classic:
            pages["terminals/1"] = "notebook" if notebook else "nbclassic"
        elif lab:
            pages["terminals/1"] = None
    return pages


def make_workspace_handler(serverapp: Any, base: str) -> type:
    """Where only JupyterLab is installed, a terminal is a workspace of it."""
    from jupyter_server.base.handlers import JupyterHandler
    from jupyterlab_server.workspaces_handler import WorkspacesManager
    from tornado import web

    app = serverapp.extension_manager.extension_points["lab"].app

    class TerminalInLab(JupyterHandler):  # type: ignore[misc]
        @web.authenticated
        def get(self) -> None:
            WorkspacesManager(app.workspaces_dir).save("terminal", json.dumps(WORKSPACE))
            self.redirect(base + "lab/workspaces/terminal")

    return TerminalInLab


# ---------------------------------------------------------------------------------------------------- the start itself


def die_with_launcher() -> None:
    """End this server if the launcher is killed, which otherwise ends it itself."""
    import ctypes

    launcher = os.getppid()
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    except (OSError, AttributeError):
        return
    if os.getppid() != launcher:
        sys.exit(1)


def leave() -> None:
    """End this process now: Jupyter has shut down, and taking all modules apart would take 0.16 s more."""
    import atexit
    import threading

    for module, name in ((threading, "_shutdown"), (atexit, "_run_exitfuncs")):
        getattr(module, name, lambda: None)()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def main() -> int:
    """Start the application for the interface named by the first argument; the others are Jupyter's."""
    die_with_launcher()
    interface = sys.argv.pop(1)
    sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != HERE]
    sys.modules["minihub_inside"] = sys.modules["__main__"]
    if is_ours():
        load_reporter(load_spec())
    # jsonschema wants it for two seldom used formats and does without; importing it takes longer than all the rest.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    for name in APPS[interface]:
        if is_installed(name):
            sys.argv[0] = "jupyter-" + name.split(".", 1)[0]
            importlib.import_module(name).main()
            leave()
    sys.stderr.write("minihub: %s has no Jupyter server in it\n" % sys.executable)
    return 1


if __name__ == "__main__":
    sys.exit(main())
