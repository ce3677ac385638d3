from __future__ import annotations

from urllib.parse import quote, unquote, urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from minihub.auth.next_url import goes_on, next_url

GOOD = [
    "/user/ada/lab",
    "/user/ada/lab/tree/a%20b.ipynb?x=1&y=http%3A%2F%2Felse.where#cell",
    "/hub/spawn?cores=2",
    "/user/J%C3%BCrgen/lab",
    "/hub/user-redirect/git-pull?repo=https://github.com/a/b",
    "/",
]
BAD = [
    None, "", "hub/home", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "\\/evil.example",
    "http://evil.example", "https:evil.example", "javascript:alert(1)", "/\t/evil.example", "/\n/evil.example", " //evil.example",
    "/%2f/evil.example", "/%2F%2Fevil.example", "/%5cevil.example", "/%09/evil.example", "/%252f/evil.example",
    "/hub/%0d%0aSet-Cookie:x", "/hub/\r\nSet-Cookie: x", "/\x00", "/hub/é", "/hub//evil", "/hub/a b", "/" + "a" * 2000, "?x", "#x",
    "/%25252525252525252f", "//[",
]  # fmt: skip


@pytest.mark.parametrize("raw", GOOD)
def test_a_path_of_the_hub_is_kept(raw):
    assert next_url(raw, "/") == raw


@pytest.mark.parametrize("raw", BAD)
def test_everything_else_is_dropped(raw):
    assert next_url(raw, "/") == ""


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("/jupyter/user/ada/lab", True),
        ("/jupyter/", True),
        ("/jupyter", False),
        ("/jupyterhub/", False),
        ("/hub/home", False),
        ("/jupyter/../evil", False),
        ("/jupyter/%2e%2e/evil", False),
        ("/jupyter/a/..%2f..%2fevil", False),
        ("/jupyter/%252e%252e/evil", False),
        ("/jupyter/a/../b", True),
    ],
)
def test_it_stays_under_the_base_path(raw, kept):
    assert next_url(raw, "/jupyter/") == (raw if kept else "")


def test_a_deep_link_stays_as_it_is():
    path = "/user/ada/lab/tree/th%20esis.ipynb?x=1&y=a%2Fb"

    assert goes_on(path, "/") == path


@pytest.mark.parametrize(
    "path",
    [
        "/hub/login?next=/",
        "/hub/logout",
        "/hub/logout#x",
        "/hub/%6cogout",
        "/hub/./logout",
        "/hub/x/../logout",
        "/hub/x/%2e%2E/logout",
        "/user/ada/logout",
    ],
)
def test_what_leads_in_circles_is_no_next(path):
    assert goes_on(path, "/") == ""
    assert next_url(path, "/") == path


PIECES = st.sampled_from(
    ["/", "//", "\\", "%2f", "%2F", "%5c", "%2e", "..", ".", "%252f", "\t", "\n", "\r", "\0", " ", "@", ":", ";", "?", "#", "%",
     "evil.example", "hub", "jupyter", "user", "http", "javascript", "é", "\uff0f", "[", "]"]
)  # fmt: skip
ADDRESSES = st.one_of(
    st.text(max_size=30),
    st.lists(PIECES, max_size=12).map("".join),
    st.lists(PIECES, max_size=12).map(lambda pieces: "/" + "".join(pieces)),
    st.lists(PIECES, max_size=12).map(lambda pieces: "/jupyter/" + "".join(pieces)),
)


def as_a_browser_reads_it(raw: str) -> str:
    """The WHATWG URL standard's kindness: drop tabs and line ends, backslashes are slashes."""
    return raw.strip("".join(map(chr, range(0x21)))).translate({9: None, 10: None, 13: None, 92: "/"})


@given(ADDRESSES, st.sampled_from(["/", "/jupyter/"]))
@example("/\\/evil.example", "/")
def test_no_text_leaves_the_hub(raw, base):
    found = next_url(raw, base)
    if not found:
        return
    assert found.startswith(base)
    assert found.isascii()
    assert found.isprintable()
    for text in (found, unquote(found), unquote(unquote(found)), as_a_browser_reads_it(found)):
        path = text.partition("?")[0].partition("#")[0]
        assert not path.startswith(("//", "/\\"))
        landed = urljoin(f"https://hub.example{base}hub/login", quote(path, safe="/%.;@:[]"))
        assert urlsplit(landed).netloc == "hub.example"
        assert f"{urlsplit(landed).path}".startswith(base)
    landed = URL(f"https://hub.example{base}hub/login").join(URL(found))
    assert (landed.scheme, landed.host) == ("https", "hub.example")
    assert next_url(found, base) == found
