"""What a check is made of: hops, in order, each with a result. Pure."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from minihub.errors import HubError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one hop."""

    hop: str
    ok: bool | None
    """None: not tested."""
    detail: str = ""
    """What was found, or why it was not tested."""
    cure: str = ""
    """What to do; with `ok` True, what could be better."""


@dataclass(frozen=True, slots=True)
class Found:
    """A hop works."""

    detail: str
    advice: str = ""


class CheckFailed(HubError):
    """A hop does not work, and what to do about it."""

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.cure = cure


class NotTested(HubError):
    """A hop cannot be tested here and now, which says nothing against it."""

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.cure = cure


@dataclass(frozen=True, slots=True)
class Hop:
    """One thing that has to work."""

    name: str
    test: Callable[[], Awaitable[Found]]
    """Raises CheckFailed, NotTested or any HubError."""
    needs: tuple[str, ...] = ()
    """Hops before it; those that are not in the row at all are not asked for."""
    cure: str = ""
    """For errors that bring none of their own."""


async def run_hops(hops: Iterable[Hop], tell: Callable[[Result], None]) -> Sequence[Result]:
    """Test one hop after the other; `tell` gets each result as it comes."""
    results: dict[str, Result] = {}
    for hop in hops:
        missing = [name for name in hop.needs if name in results and results[name].ok is not True]
        if missing:
            result = Result(hop.name, None, f"needs: {', '.join(missing)}")
        else:
            result = await _test(hop)
        results[hop.name] = result
        tell(result)
    return tuple(results.values())


async def _test(hop: Hop) -> Result:
    try:
        found = await hop.test()
    except CheckFailed as failure:
        return Result(hop.name, False, failure.user_message, failure.cure or hop.cure)
    except NotTested as reason:
        return Result(hop.name, None, reason.user_message, reason.cure)
    except HubError as error:
        detail = f"{error.user_message} ({error.detail})" if error.detail else error.user_message
        return Result(hop.name, False, detail, hop.cure)
    except Exception as error:
        log.exception("the check of %r broke", hop.name)
        detail = f"the check itself broke: {type(error).__name__}: {error}"
        return Result(hop.name, False, detail, "Please report this with the lines above.")
    return Result(hop.name, True, found.detail, found.advice)


def exit_status(results: Iterable[Result]) -> int:
    """0 unless something failed; what was not tested is no failure."""
    return int(any(result.ok is False for result in results))
