"""How a row of hops is run."""

from __future__ import annotations

import pytest

from minihub.checks.model import CheckFailed, Found, Hop, NotTested, Result, exit_status, run_hops
from minihub.errors import SchedulerUnavailable


def hop(name, answer, *needs, cure=""):
    async def test():
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Hop(name, test, needs, cure)


async def run(*hops):
    told = []
    results = await run_hops(hops, told.append)
    assert list(results) == told
    return {result.hop: result for result in results}


async def test_what_works_is_told_with_its_advice():
    results = await run(hop("a", Found("fine", "could be better")))
    assert results["a"] == Result("a", True, "fine", "could be better")
    assert exit_status(results.values()) == 0


async def test_a_failure_brings_its_cure_and_stops_only_what_needs_it():
    results = await run(
        hop("a", CheckFailed("broken", "mend it"), cure="not this one"),
        hop("b", Found("fine"), "a"),
        hop("c", Found("fine"), "b"),
        hop("d", Found("fine")),
    )
    assert results["a"] == Result("a", False, "broken", "mend it")
    assert results["b"] == Result("b", None, "needs: a")
    assert results["c"] == Result("c", None, "needs: b")
    assert results["d"].ok is True
    assert exit_status(results.values()) == 1


async def test_any_error_of_ours_takes_the_cure_of_its_hop():
    results = await run(hop("a", SchedulerUnavailable("Slurm is silent.", "exit 1"), cure="wake it"))
    assert results["a"] == Result("a", False, "Slurm is silent. (exit 1)", "wake it")


async def test_what_cannot_be_tested_is_no_failure_but_stops_what_needs_it():
    results = await run(hop("a", NotTested("no user", "name one")), hop("b", Found("fine"), "a"))
    assert results["a"] == Result("a", None, "no user", "name one")
    assert results["b"].ok is None
    assert exit_status(results.values()) == 0


async def test_a_hop_that_is_not_in_the_row_is_not_needed():
    assert (await run(hop("b", Found("fine"), "elsewhere")))["b"].ok is True


@pytest.mark.filterwarnings("ignore")
async def test_a_bug_in_a_check_is_told_and_the_others_go_on():
    results = await run(hop("a", ZeroDivisionError("oops")), hop("b", Found("fine")))
    assert results["a"].ok is False
    assert "ZeroDivisionError: oops" in results["a"].detail
    assert results["b"].ok is True
