"""Results as people read them."""

from __future__ import annotations

from minihub.checks.model import Result
from minihub.checks.printing import WIDTH, format_result, format_summary


def test_one_line_for_each_hop():
    assert format_result(Result("PAM", True, "answers")) == "ok       PAM: answers"
    assert format_result(Result("log", None, "needs: test job")) == "skipped  log: needs: test job"
    assert format_result(Result("store", True)) == "ok       store"


def test_the_cure_stands_below_each_line_of_it():
    told = format_result(Result("host keys", False, "wrong key", "do this\nthen that"))
    assert told.splitlines() == [
        "FAILED   host keys: wrong key",
        "         cure: do this",
        "               then that",
    ]


def test_advice_is_no_cure():
    assert "note: faster with it" in format_result(Result("listing", True, "fine", "faster with it"))


def test_long_details_are_wrapped_and_lines_of_a_log_kept():
    told = format_result(Result("Jupyter", False, "the end of its log:\nfirst line\n" + "word " * 60))
    lines = told.splitlines()
    assert lines[1] == "         first line"
    assert max(map(len, lines)) <= WIDTH


def test_the_summary_counts_and_names_where_to_begin():
    results = [Result("a", True), Result("b", False), Result("c", None), Result("d", False)]
    assert format_summary(results) == "1 ok, 2 failed, 1 skipped; begin with: b"
    assert format_summary(results[:1]) == "1 ok, 0 failed, 0 skipped"
