"""The program inside the job: starts the user's Jupyter, tells the hub where it listens, leaves nothing behind.

    the job script (servers/jobscript.py: sh)
      `- launch.py     in Jupyter's own interpreter, or any Python >= 3.8; watches, reports, cleans up
           `- inside.py   in Jupyter's process: its configuration file and one small server extension
           `- report.py   there too, in a thread: tells the hub

Who calls in: `servers/jobscript.py` takes the three sources as text and embeds them in the job script. Nothing of this
room is imported by the hub, and none of the three imports anything of minihub: standard library only, and
in `inside.py` what Jupyter itself is made of. Nothing is installed on the nodes.

What goes out: a notice {secret, port: null} that the job runs and one report {secret, port} to the hub (push), or the
port in the job's Slurm comment (pull).

What never happens here: a secret on a command line, in the environment or in the log; a file outside the runtime
directory (0700, node-local, removed at the end); a process that outlives the job; a change in the user's home,
except that old logs of ended jobs are pruned, and all of those that ended as asked.

Decisions (November 2026):

- *Listening without a race.* Jupyter 2.x picks a free port, closes it and binds it again later. The extension binds
  once, on all addresses, and hands the sockets to Jupyter's HTTP server. The port is reported when Jupyter accepts.
- *No page is missing.* `lab`, `tree`, `nbclassic/tree` and `terminals/1` answer whatever is installed: with the page,
  or with a redirect to the nearest one there is. `/user/NAME/` leads to the chosen interface.
- *The user's own ~/.jupyter stays in effect*, but what the hub relies on (token, TLS, addresses) is set where it
  outranks everything, and checked once more when Jupyter is ready to listen: a server that differs ends with a
  sentence in the log instead of being reported.
- *Jupyter's login cookie is not used*: the proxy adds the token to every request, so the cookie would only be one more
  key lying about in the browser.
- *Jupyter first*: the launcher prunes and looks after nothing before Jupyter has been started.
- *The launcher imports next to nothing*: it costs 12 ms of a core (40 with `json`, `re`, `ssl`, `threading`), which counts
  where a class of users starts at once. Jupyter's process has those modules anyway, so it is Jupyter's that reports.
- *The notice* makes the hub look at the queue while Jupyter starts. Without it the hub would ask for the node only when
  the port is reported, and the user would wait for that listing. Both go over one connection.
- *Half the start-up time is one import* (`jsonschema` -> `rfc3987_syntax`, which builds a grammar): it is blocked in
  the server process, and there only; kernels are not touched.
"""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def source(name: str) -> str:
    """The text of one of the programs: "launch.py", "inside.py" or "report.py"; read once."""
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
