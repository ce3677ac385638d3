"""Server options: every field can be wrong, and each says so beside itself."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minihub.config import parse_settings
from minihub.errors import OptionsError
from minihub.schedulers.base import Association, Limits, Partition
from minihub.servers.model import ServerOptions
from minihub.servers.options import NAMES, build_form, parse_options
from tests.fakes import LIMITS

SETTINGS = parse_settings({}).options
GOOD = {"time_hours": "1", "cores": "1", "memory_mb": "512"}


def wrong(raw, settings=SETTINGS, limits=LIMITS):
    with pytest.raises(OptionsError) as caught:
        parse_options({**GOOD, **raw}, settings, limits)
    return caught.value.fields


def test_nothing_asked_gives_the_sites_defaults():
    assert parse_options({}, SETTINGS, LIMITS) == ServerOptions(1.0, 1, 2048, account="def-a")


def test_decimal_hours_with_point_or_comma():
    assert parse_options({**GOOD, "time_hours": "1.25"}, SETTINGS, LIMITS).time_hours == 1.25
    assert parse_options({**GOOD, "time_hours": "1,25"}, SETTINGS, LIMITS).time_hours == 1.25


@pytest.mark.parametrize(
    ("raw", "field", "words"),
    [
        ({"time_hours": "long"}, "time_hours", "not a number"),
        ({"time_hours": "nan"}, "time_hours", "not a number"),
        ({"time_hours": "0"}, "time_hours", "At least 0.05"),
        ({"time_hours": "-1"}, "time_hours", "At least"),
        ({"time_hours": "8.5"}, "time_hours", "At most 8 hours in partition compute"),
        ({"time_hours": "7", "account": "rrg-b"}, "time_hours", "At most 6 hours for account rrg-b"),
        ({"cores": "1.5"}, "cores", "whole number"),
        ({"cores": "0"}, "cores", "At least 1"),
        ({"cores": "5"}, "cores", "At most 4 for account def-a"),
        ({"cores": "9", "account": "rrg-b"}, "cores", "At most 8 on one node"),
        ({"cores": True}, "cores", "not a number"),
        ({"memory_mb": "99999999"}, "memory_mb", "At most"),
        ({"account": "other"}, "account", "Yours: def-a, rrg-b"),
        ({"account": "a b; rm"}, "account", "Letters"),
        ({"partition": "nosuch"}, "partition", "no partition nosuch"),
        ({"partition": "closed"}, "partition", "not open"),
        ({"partition": "gpu", "account": "def-a"}, "partition", "may not use partition gpu"),
        ({"gpu_count": "1"}, "gpu_count", "no GPUs here"),
        (
            {"gpu_count": "3", "gpu_type": "v100", "partition": "gpu", "account": "rrg-b"},
            "gpu_count",
            "At most 2",
        ),
        ({"gpu_count": "1", "gpu_type": "h100", "partition": "gpu", "account": "rrg-b"}, "gpu_type", "v100"),
        ({"interface": "rstudio"}, "interface", "Choose one of"),
        ({"reservation": "x"}, "reservation", "fixed"),
        ({"rescue": "maybe"}, "rescue", "Yes or no"),
        ({"nodes": "4"}, "nodes", "no such option"),
        ({"time_hours": ["1"]}, "time_hours", "not a number"),
    ],
)
def test_each_wrong_value_is_told_beside_its_field(raw, field, words):
    fields = wrong(raw)

    assert words in fields[field]


def test_all_wrong_fields_are_told_at_once():
    assert set(wrong({"time_hours": "x", "cores": "x", "account": "x"})) == {"time_hours", "cores", "account"}


def test_a_gpu_type_without_a_number_means_one():
    options = parse_options(
        {**GOOD, "partition": "gpu", "account": "rrg-b", "gpu_type": "v100"}, SETTINGS, LIMITS
    )

    assert (options.gpu_type, options.gpu_count) == ("v100", 1)


def test_no_account_at_all_is_told_and_explained_on_the_form():
    limits = Limits(partitions=LIMITS.partitions)

    assert "no account" in wrong({}, limits=limits)["account"]
    assert "no account" in build_form(limits, SETTINGS, None, {}).problem


def test_a_locked_option_keeps_the_sites_value():
    site = parse_settings(
        {"options": {"interface": {"default": "notebook", "locked": True, "choices": ["lab", "notebook"]}}}
    ).options

    assert "fixed" in wrong({"interface": "lab"}, site)["interface"]
    assert parse_options({**GOOD, "interface": "notebook"}, site, LIMITS).interface == "notebook"
    assert build_form(LIMITS, site, None, {"interface": "lab"}).values["interface"] == "notebook"


def test_site_bounds_hold_beside_the_schedulers():
    site = parse_settings({"options": {"cores": {"default": 1, "max": 2}}}).options

    assert wrong({"cores": "3"}, site)["cores"] == "At most 2 on this hub."
    assert build_form(LIMITS, site, None, {}).max_cores == 2


def test_the_form_remembers_the_last_choice_and_obeys_a_link():
    last = ServerOptions(2, 4, 4096, account="rrg-b", interface="terminal", rescue=True)
    form = build_form(LIMITS, SETTINGS, last, {"cores": "3", "nonsense": "1"})

    assert (form.values["account"], form.values["cores"], form.values["interface"]) == (
        "rrg-b",
        "3",
        "terminal",
    )
    assert form.values["rescue"] is False
    assert form.accounts == ("def-a", "rrg-b")
    assert (form.max_time_hours, form.max_cores, form.max_memory_mb) == (None, 8, 16000)


def test_bounds_of_the_form_are_the_widest_that_any_partition_allows():
    limits = Limits(
        (
            Partition("a", max_time=timedelta(hours=2), max_cores=2),
            Partition("b", max_time=timedelta(hours=9), max_cores=4),
        )
    )
    form = build_form(limits, SETTINGS, None, {})

    assert (form.max_time_hours, form.max_cores) == (9, 4)


def test_a_partition_of_its_own_has_limits_of_its_own():
    limits = Limits(
        LIMITS.partitions,
        (Association("a", default=True, max_cores=2), Association("a", partition="compute", max_cores=6)),
    )

    assert parse_options({**GOOD, "cores": "6", "partition": "compute"}, SETTINGS, limits).cores == 6
    assert "At most 2" in wrong({"cores": "6"}, limits=limits)["cores"]


RAW_VALUES = st.one_of(st.text(max_size=12), st.integers(), st.floats(), st.none(), st.booleans())


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), RAW_VALUES, max_size=4))
def test_any_input_gives_options_or_messages(raw):
    messages, options = {}, None
    with contextlib.suppress(OptionsError):
        try:
            options = parse_options(raw, SETTINGS, LIMITS)
        except OptionsError as error:
            messages = error.fields
            raise

    assert (options is None) == bool(messages) == any(messages.values())
    assert options is None or (options.account in ("def-a", "rrg-b") and 0 < options.time_hours <= 8)
