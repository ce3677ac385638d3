"""What the documentation promises is what the code has: settings, URLs, commands, messages, examples, pages of rooms."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from minihub import errors
from minihub.auth.scopes import IMPLIES, ROLES
from minihub.cli import _build_parser
from minihub.command import failures
from minihub.command.words import HUB_GROUP
from minihub.config import OptionSettings, Settings, parse_settings
from minihub.reference import build_reference
from minihub.web.api.tables import ENDPOINTS
from minihub.web.routes import ROUTES

ROOT = Path(__file__).parents[1]
URLS = (ROOT / "docs/urls.md").read_text()
API = (ROOT / "docs/api.md").read_text()
COMMANDS = (ROOT / "docs/commands.md").read_text()
REFERENCE = ROOT / "configs/minihub.toml"
MOST_LINES = 450
LONGER = {
    # One file that is fed to an interpreter in the job, and can import nothing of ours.
    "launcher/launch.py"
}
"""Modules that are longer than a module should be, each with its reason."""


def commented_out_lines():
    """The reference as a settings file that sets every default."""
    lines = []
    for line in REFERENCE.read_text().splitlines():
        names_a_key = line.startswith("#") and not line.startswith("# ") and len(line) > 1
        lines.append(line[1:] if names_a_key else line)
    return "\n".join(lines)


# ---- settings -------------------------------------------------------------------------------------------------------


def test_the_reference_is_the_one_that_the_command_prints():
    """Made anew by: minihub config --reference > configs/minihub.toml."""
    assert REFERENCE.read_text() == build_reference()


@pytest.mark.parametrize("section", Settings.model_fields)
def test_every_setting_is_in_the_reference_with_its_meaning(section):
    _, _, rest = REFERENCE.read_text().partition(f"\n[{section}]\n")
    table = rest.partition("\n[")[0]
    for key, field in Settings.model_fields[section].annotation.model_fields.items():
        assert re.search(rf"(?m)^# .+\n#{key} = ", table), f"{section}.{key}"
        assert field.description


def test_the_reference_sets_nothing_and_its_defaults_are_the_defaults():
    assert parse_settings(tomllib.loads(REFERENCE.read_text())) == Settings()
    assert parse_settings(tomllib.loads(commented_out_lines())) == Settings()


def test_an_options_table_keeps_the_defaults_that_it_does_not_name():
    cores = parse_settings({"options": {"cores": {"max": 4}}}).options.cores
    assert cores == OptionSettings(default=1, min=1, max=4)


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*.toml")), ids=lambda path: path.name)
def test_examples_parse(path):
    parse_settings(tomllib.loads(path.read_text()), path.name)


def test_settings_that_other_examples_name_exist():
    """nginx.conf and others quote settings in comments."""
    for path in (ROOT / "configs").rglob("*"):
        if path.is_file() and path.suffix != ".toml":
            check_names(path)


@pytest.mark.parametrize("path", ["README.md", "SECURITY.md", "CONTRIBUTING.md", "docs"])
def test_settings_that_the_documents_name_exist(path):
    target = ROOT / path
    for document in sorted(target.glob("*.md")) if target.is_dir() else [target]:
        check_names(document)


def check_names(document):
    sections = "|".join(Settings.model_fields)
    names = re.findall(rf"\b({sections})\.([a-z_]+)\b", document.read_text())
    for section, key in names:
        known = Settings.model_fields[section].annotation.model_fields
        assert key in known or key in {"example", "toml", "md", "py"}, f"{document.name}: {section}.{key}"


# ---- URLs -----------------------------------------------------------------------------------------------------------


def documented():
    """(method, path) of each row of the tables in docs/urls.md and docs/api.md."""
    pages = set(re.findall(r"\b(GET|POST|DELETE|PUT|PATCH) `([^`]+)`", URLS))
    return pages | set(re.findall(r"(?m)^\| (GET|POST|DELETE|PUT|PATCH) `([^`]+)`", API))


def plain(path):
    return re.sub(r":[^}]*}", "}", path)


def real():
    pages = {(method, f"/{plain(path)}") for method, path, _, _ in ROUTES}
    api = {
        (method, f"/hub/api{plain(path)}")
        for method, path in ((e.method, e.path) for e in ENDPOINTS if not e.hidden)
    }
    return pages | api


def test_every_route_is_documented():
    assert real() - documented() == set()


def test_every_documented_url_is_a_route():
    assert documented() - real() == set()


def test_every_scope_is_documented_with_what_it_contains():
    rows = dict(re.findall(r"(?m)^\| `([a-z:_]+)` \| [^|]+ \| ([^|]*)\|$", API.partition("## Scopes")[2]))
    assert set(rows) == {*IMPLIES, *ROLES}
    for scope, contents in IMPLIES.items():
        assert re.findall(r"`([^`]+)`", rows[scope]) == list(contents), scope


def test_the_scope_of_every_endpoint_is_the_documented_one():
    for endpoint in ENDPOINTS:
        assert endpoint.hidden or f"| {endpoint.method} `/hub/api{endpoint.path}` | {endpoint.scope} |" in API


def test_the_proxys_paths_are_documented():
    assert "`/user/{name}/{path}`" in URLS
    assert "`/user/{name}/logout`" in URLS


def test_every_option_is_documented():
    for name in Settings().options.model_fields_set or type(Settings().options).model_fields:
        assert f"`{name}`" in URLS, name


# ---- commands -------------------------------------------------------------------------------------------------------


def subcommands(parser, prefix="minihub"):
    """Every complete command line with its parser."""
    groups = [action for action in parser._actions if hasattr(action, "choices") and action.choices]
    nested = [action for action in groups if isinstance(action.choices, dict)]
    if nested:
        for name, below in nested[0].choices.items():
            yield from subcommands(below, f"{prefix} {name}")
        return
    words = [action for action in groups if not action.option_strings]
    if words:
        for word in words[0].choices:
            yield f"{prefix} {word}", parser
    else:
        yield prefix, parser


ALL_COMMANDS = dict(subcommands(_build_parser()))


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_every_command_and_option_is_documented(command):
    rows = [line for line in COMMANDS.splitlines() if line.startswith("|") and f"`{command}`" in line]
    assert rows, command
    common = options_for_any_hub(ALL_COMMANDS[command])
    for action in ALL_COMMANDS[command]._actions:
        for option in action.option_strings:
            if option.startswith("--") and option not in ("--help", "--config") and option not in common:
                assert option in rows[0] or (command == "minihub check" and option in COMMANDS), option


def options_for_any_hub(parser):
    """Those that every command has which asks a hub: they are documented once."""
    groups = [group for group in parser._action_groups if group.title == HUB_GROUP]
    return {option for group in groups for action in group._group_actions for option in action.option_strings}


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_options_for_any_hub_are_documented_once(command):
    section = COMMANDS.partition("### Which hub")[2].partition("\n## ")[0]
    missing = [option for option in options_for_any_hub(ALL_COMMANDS[command]) if f"`{option}" not in section]
    assert missing == []


@pytest.mark.parametrize("command", [c for c in ALL_COMMANDS if "--json" in ALL_COMMANDS[c].format_help()])
def test_every_json_shape_is_documented(command):
    table = COMMANDS.partition("### JSON")[2].partition("\n## ")[0]
    firsts = " ".join(re.findall(r"(?m)^\| (.*?) \|", table))
    assert f"`{command.removeprefix('minihub ')}`" in firsts


@pytest.mark.parametrize("command", [c for c in ALL_COMMANDS if options_for_any_hub(ALL_COMMANDS[c])])
def test_every_command_that_asks_a_hub_has_a_help_with_an_example(command):
    text = ALL_COMMANDS[command].format_help()
    assert f"example:\n  {command}" in text
    for action in ALL_COMMANDS[command]._actions:
        assert action.help, action.dest


def test_every_exit_status_is_documented():
    statuses = {
        0,
        1,
        2,
        *(kind.exit_status for kind in vars(failures).values() if hasattr(kind, "exit_status")),
    }
    table = COMMANDS.partition("| exit status |")[2].partition("\n\n")[0]
    documented = {int(number) for number in re.findall(r"(?m)^\| (\d+) \|", table)}
    assert documented == statuses | {130}


def test_no_other_commands_are_documented():
    named = set(re.findall(r"^\| `(minihub(?: [a-z]+)+)`", COMMANDS, re.MULTILINE))
    assert named == set(ALL_COMMANDS)


def test_commands_in_other_documents_exist():
    first = {command.split()[1] for command in ALL_COMMANDS}
    for document in DOCUMENTS:
        for word in re.findall(r"`?\bminihub (?!COMMAND)([a-z]+)\b(?=[^\n]*`)", document.read_text()):
            if f"`minihub {word}" in document.read_text():
                assert word in first, f"{document.name}: minihub {word}"


# ---- people's page --------------------------------------------------------------------------------------------------


def test_messages_in_the_users_page_are_ones_that_the_hub_says():
    said = {value.default_message for value in vars(errors).values() if hasattr(value, "default_message")}
    with (ROOT / "templates/locale/fr/LC_MESSAGES/minihub.po").open("rb") as file:
        said |= {text for m in read_po(file) for text in (m.id if isinstance(m.id, tuple) else (m.id,))}
    said = {re.sub(r"%\([a-z]+\)s", "NAME", text.replace("%(limit)s", "TIME")) for text in said}
    table = (ROOT / "docs/users.md").read_text().partition("## Possible messages")[2]
    quoted = [
        text
        for row in re.findall(r"^\| (\*.*?) \|", table, re.MULTILINE)
        for text in re.findall(r"\*([^*]+)\*", row)
    ]
    assert len(quoted) > 10
    assert [text for text in quoted if text not in said and "Server unavailable" not in text] == []


# ---- files ----------------------------------------------------------------------------------------------------------


DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_between_documents_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_files_that_documents_name_exist():
    named = re.compile(r"(?<![/\w~])((?:configs|scripts|docs|minihub|tests)/[A-Za-z0-9_./-]*[A-Za-z0-9_])")
    for document in DOCUMENTS:
        for name in named.findall(document.read_text()):
            assert "ROOM" in name or (ROOT / name).exists(), f"{document.name}: {name}"


def rooms():
    return sorted(path for path in (ROOT / "minihub").rglob("__init__.py") if "_data" not in path.parts)


@pytest.mark.parametrize(
    "path", [p for p in rooms() if p.parent.parent == ROOT / "minihub"], ids=lambda p: p.parent.name
)
def test_every_room_has_its_page(path):
    page = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert len(page.splitlines()) > 5, f"{path}: the room's page is missing"
    assert "Who calls in" in page
    assert "never happens here" in page


def modules():
    return sorted(path for path in (ROOT / "minihub").rglob("*.py") if "_data" not in path.parts)


def test_every_module_says_what_it_is():
    assert [str(path) for path in modules() if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_modules_are_of_a_size_to_be_read():
    long = {
        str(path.relative_to(ROOT / "minihub"))
        for path in modules()
        if len(path.read_text().splitlines()) > MOST_LINES
    }
    assert long == LONGER


def test_examples_hold_no_secret_and_no_name_of_this_machine():
    for path in (ROOT / "configs").rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert "PRIVATE KEY" not in text
            assert "/work/" not in text


def test_sh_examples_are_sh():
    done = subprocess.run(["sh", "-n", str(ROOT / "configs/minihub-job")], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_reference_command_needs_no_settings_file(tmp_path):
    (tmp_path / "minihub.toml").write_text("[hub]\nprot = 1\n")
    done = subprocess.run(
        [sys.executable, "-m", "minihub", "config", "--reference"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, build_reference())
