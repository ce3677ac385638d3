"""Small plots as SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from minihub.web.plots import HEIGHT, WIDTH, Plot, Series, draw_bars, draw_lines, nice_number, nice_seconds


def plot(**changes):
    return Plot(
        **{"title": "Ser<vers>", "description": "At most 3 & more.", "ticks": [(1, "10:00")], **changes}
    )


def parse(picture):
    return ET.fromstring(str(picture))


def find(svg, name, css=""):
    return [e for e in svg.iter(name) if css in e.get("class", "")]


def test_it_says_what_it_is_and_is_escaped():
    picture = draw_lines(plot(), [Series("a", [1.0, 3.0])])
    svg = parse(picture)

    assert (svg.get("role"), svg.find("title").text, svg.find("desc").text) == (
        "img",
        "Ser<vers>",
        "At most 3 & more.",
    )
    assert "Ser<vers>" not in picture


def test_it_has_no_styles_and_no_scripts():
    for draw in (draw_lines, draw_bars):
        svg = parse(draw(plot(), [Series("a", [1.0, None, 3.0]), Series("b", [0.0, 2.0, 2.0])]))
        for element in svg.iter():
            assert element.tag not in {"style", "script"}
            assert not {"style", "onload"} & set(element.attrib)
            for name in ("x", "x1", "x2", "cx"):
                assert 0 <= float(element.get(name, 0)) <= WIDTH
            for name in ("y", "y1", "y2", "cy"):
                assert 0 <= float(element.get(name, 0)) <= HEIGHT


def test_a_gap_is_a_gap_and_a_single_value_a_dot():
    svg = parse(draw_lines(plot(), [Series("a", [1.0, 2.0, None, 4.0, None])]))

    (line,), (dot,) = find(svg, "polyline"), find(svg, "circle")
    assert len(line.get("points").split()) == 2
    assert dot.get("class") == "dot c0"


def test_higher_is_further_up():
    svg = parse(draw_lines(plot(), [Series("a", [0.0, 4.0])]))
    low, high = (float(point.split(",")[1]) for point in find(svg, "polyline")[0].get("points").split())

    assert (low, high) == (156.0, 12.0)


def test_bars_stand_on_each_other():
    svg = parse(draw_bars(plot(), [Series("a", [1.0, 0.0]), Series("b", [3.0, 0.0])]))
    below, above = find(svg, "rect")

    assert float(above.get("y")) + float(above.get("height")) == pytest.approx(float(below.get("y")))
    assert float(above.get("height")) == pytest.approx(3 * float(below.get("height")))
    assert [bar.get("class") for bar in (below, above)] == ["bar c0", "bar c1"]


@pytest.mark.parametrize(
    ("value", "top"), [(1, 1), (2, 2), (3, 4), (5, 5), (5.1, 10), (37, 40), (0.3, 0.4), (1001, 2000)]
)
def test_a_scale_ends_at_a_number_that_reads_well(value, top):
    assert nice_number(value) == pytest.approx(top)


@pytest.mark.parametrize(
    ("value", "top"),
    [(9, 10), (60, 60), (61, 120), (250, 600), (3500, 3600), (3601, 7200), (80000, 86400), (200000, 259200)],
)
def test_a_scale_of_times_ends_at_a_span_that_reads_well(value, top):
    assert nice_seconds(value) == top


def test_half_a_server_is_not_named():
    labels = [e.text for e in find(parse(draw_lines(plot(), [Series("a", [5.0, 1.0])])), "text")]

    assert labels == ["0", "5", "10:00"]
