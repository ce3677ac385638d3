"""The options form's fields."""

# ruff: noqa: RUF001 - French writes apostrophes so

from __future__ import annotations

from minihub.config import parse_settings
from minihub.web.assets import templates_dir
from minihub.web.i18n import Catalogues
from minihub.web.options import build_fields, loose_errors, raw_options
from tests.web.fakes import make_form, make_limits

EN = Catalogues([templates_dir()])["en"]
OPTIONS = parse_settings({}).options


def fields(form=None, values=None, errors=None, options=OPTIONS):
    return {f.name: f for f in build_fields(form or make_form(), options, EN, values, errors)}


def test_choices_and_bounds_come_from_the_scheduler():
    found = fields()

    assert [c.value for c in found["account"].choices] == ["def-ada", "rrg-prof"]
    assert [c.label for c in found["partition"].choices] == [
        "Chosen by the scheduler",
        "compute (up to 3 d, 40 cores idle)",
        "gpu (up to 12 h, 0 cores idle, 4 × a100, 2 × t4)",
    ]
    assert (found["cores"].least, found["cores"].most) == ("1", "64")
    assert found["memory_mb"].most == "256000"
    assert [c.value for c in found["gpu_type"].choices] == ["", "a100", "t4"]
    assert found["gpu_count"].most == "4"


def test_the_sites_own_bound_counts_where_it_is_lower():
    options = parse_settings({"options": {"cores": {"default": 1, "min": 1, "max": 8}}}).options

    assert fields(options=options)["cores"].most == "8"


def test_hidden_fields_are_not_there_and_locked_ones_are_marked():
    found = fields(
        make_form(hidden=frozenset({"qos", "partition", "rescue"}), locked=frozenset({"interface"}))
    )

    assert not {"qos", "partition", "rescue"} & set(found)
    assert found["interface"].locked


def test_without_gpus_or_accounts_there_are_no_such_fields():
    limits = make_limits(partitions=(), uses_accounts=False)

    assert not {"account", "gpu_type", "gpu_count", "partition"} & set(
        fields(make_form(limits=limits, accounts=()))
    )


def test_an_empty_list_of_accounts_is_explained():
    account = fields(make_form(accounts=(), values={}))["account"]

    assert account.hint == "You have no account here that could be charged."


def test_what_was_typed_stays_even_where_it_is_wrong():
    found = fields(
        values={"cores": "9999", "account": "def-gone"}, errors={"cores": "At most 64 on one node."}
    )

    assert (found["cores"].value, found["cores"].error) == ("9999", "At most 64 on one node.")
    assert found["account"].choices[-1].value == "def-gone"


def test_an_error_without_a_field_is_not_lost():
    form = make_form()
    errors = {"qos": "You may not.", "": "Nothing fits.", "cores": "Too many."}
    shown = build_fields(form, OPTIONS, EN, {}, errors)

    assert loose_errors(shown, errors, EN) == ["qos: You may not.", "Nothing fits."]


def test_raw_options_are_words_without_our_own_fields():
    posted = {
        "_xsrf": "t",
        "next": "/x",
        "cores": " 2 ",
        "time_hours": "1,5",
        "account": "",
        "interface": "lab",
    }
    form = make_form(locked=frozenset({"interface"}))

    assert raw_options(posted, form) == {"cores": "2", "time_hours": "1.5", "rescue": False}


def test_rescue_is_asked_for_by_its_box_only_where_it_is_shown():
    assert raw_options({"rescue": "on"}, make_form())["rescue"] is True
    assert "rescue" not in raw_options({}, make_form(hidden=frozenset({"rescue"})))


def test_unknown_names_go_along_to_be_refused():
    assert raw_options({"nonsense": "1"}, make_form())["nonsense"] == "1"


def test_an_empty_time_is_not_quietly_the_default():
    assert raw_options({"time_hours": "", "gpu_count": ""}, make_form()) == {
        "time_hours": "",
        "rescue": False,
    }
