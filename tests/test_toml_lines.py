"""Where keys stand in TOML."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minihub.toml_lines import find_line

TEXT = '''\
# hub.port = 1
top = 1
[hub]
port = 8000  # not "port" = [ here
"odd key" = """
port = 2
[auth]
\\""" still """
list = [
  "port]", 'port = 3', # ]
  { port = 4 },
]
a.b . 'c' = { d = 1, e = [
  2,
] }

[ options . "cores" ]
max = 4
[[many]]
x = 1
[slurm]
last = 5
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("hub",), 3),
        (("hub", "port"), 4),
        (("hub", "odd key"), 5),
        (("hub", "list"), 9),
        (("hub", "list", "1"), 9),
        (("hub", "a"), 13),
        (("hub", "a", "b", "c"), 13),
        (("hub", "a", "b", "c", "d"), 13),
        (("hub", "not there"), None),
        (("options", "cores", "max"), 18),
        (("options", "cores"), 17),
        (("options",), 17),
        (("many", "x"), 20),
        (("slurm", "last"), 22),
        (("nowhere",), None),
        ((), None),
    ],
)
def test_lines(path, line):
    tomllib.loads(TEXT)
    assert find_line(TEXT, path) == line


KEYS = st.sampled_from(["a", "b", '"c d"', "'e'"])
VALUES = st.sampled_from(
    ['"x"', "'#['", "[1, 2]", "[\n 'a', # ]\n 2\n]", '"""\na = 1\n[b]\n"""', "{ z = 1 }", "true", "'''\n]'''"]
)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=8, unique_by=lambda pair: pair[0]))
def test_every_key_is_found_where_it_was_written(pairs):
    text, expected = "[t]\n", {}
    for key, value in pairs:
        expected[key.strip("\"'")] = text.count("\n") + 1
        text += f"{key} = {value}\n"
    assert set(tomllib.loads(text)["t"]) == set(expected)
    assert {key: find_line(text, ("t", key)) for key in expected} == expected
