"""Charts: well-formed, complete, and in the right places."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest
from raftkv.bench import chart, picture
from raftkv.bench.result import Result, Slice
from raftkv.bench.svg import HEIGHT, Axis, Series, document, line_chart
from raftkv.bench.workloads import Workload

SVG = "{http://www.w3.org/2000/svg}"


def parsed(text: str) -> ElementTree.Element:
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    return root


def lines(root: ElementTree.Element):
    """The points of each line, as (x, y) pixels."""
    return [
        [tuple(map(float, point.split(","))) for point in line.get("points").split()]
        for line in root.iter(f"{SVG}polyline")
    ]


def texts(root: ElementTree.Element):
    return [text.text for text in root.iter(f"{SVG}text")]


def drawn(series, x=Axis("x"), y=Axis("y")) -> ElementTree.Element:
    return parsed(document([line_chart("title", x, y, series)]))


def test_a_chart_has_a_white_background_a_title_labels_and_a_legend():
    root = drawn([Series("a <b> & c", [(1, 1), (2, 3)])], Axis("clients"), Axis('"ops"'))
    assert root[0].tag == f"{SVG}rect" and root[0].get("fill") == "#ffffff"
    assert {"title", "clients", '"ops"', "a <b> & c"} <= set(texts(root))


def test_a_linear_axis_begins_at_zero_and_keeps_proportions():
    ((a, b, c),) = lines(drawn([Series("s", [(0, 0), (1, 10), (2, 20)])]))
    assert b[0] - a[0] == pytest.approx(c[0] - b[0], abs=0.2)
    assert a[1] - b[1] == pytest.approx(b[1] - c[1], abs=0.2) and a[1] > c[1]


def test_a_logarithmic_axis_shows_factors_and_leaves_out_zero():
    root = drawn(
        [Series("s", [(0, 5), (1, 1), (10, 100), (100, 10_000)])], Axis("x", log=True), Axis("y", log=True)
    )
    ((a, b, c),) = lines(root)
    assert b[0] - a[0] == pytest.approx(c[0] - b[0], abs=0.2)
    assert a[1] - b[1] == pytest.approx(b[1] - c[1], abs=0.2)


def test_where_nothing_is_known_the_line_is_broken():
    points = [(0, 1), (1, 1), (2, None), (3, 1), (4, 1)]
    assert [len(line) for line in lines(drawn([Series("s", points)]))] == [2, 2]


@pytest.mark.parametrize(
    "points", [[], [(0, 0)], [(5, 5)], [(3, 0.0001), (4, 0.0001)], [(1e9, 1e9), (2e9, 3e9)]]
)
@pytest.mark.parametrize("log", [False, True])
def test_odd_data_still_gives_a_chart_within_its_frame(points, log):
    root = drawn([Series("s", points)], Axis("x", log=log), Axis("y", log=log))
    for line in lines(root):
        assert all(0 <= x <= 720 and 0 <= y <= HEIGHT for x, y in line)


def test_labels_of_ticks_do_not_cover_each_other():
    ticks = [(value, str(value)) for value in (1, 2, 3, 1000)]
    root = drawn([Series("s", [(1, 1), (1000, 2)])], Axis("x", ticks=ticks))
    assert "1" in texts(root) and "1000" in texts(root) and "3" not in texts(root)


# -- from JSON lines -----------------------------------------------------------------------------------------


def write_lines(path, *rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_chart_of_json_lines_shows_the_median_of_equal_runs(tmp_path):
    rows = [{"clients": x, "ops_per_s": y} for x, y in ((1, 10), (1, 30), (1, 20), (64, 40), (64, 40))]
    out = tmp_path / "out.svg"
    source = write_lines(tmp_path / "in.jsonl", *rows, {"peer": "floor"})
    assert chart.main(["--x", "clients", "--y", "ops_per_s", source, "-o", str(out)]) == 0
    root = parsed(out.read_text())
    ((first, second),) = lines(root)
    bottom = HEIGHT - 48
    assert (bottom - second[1]) / (bottom - first[1]) == pytest.approx(2, abs=0.02)
    assert {"1", "64", "clients", "ops_per_s"} <= set(texts(root))


def test_each_y_and_each_value_of_by_has_a_line(tmp_path):
    rows = [{"n": n, "w": w, "p50": n, "p99": 2 * n} for n in (1, 3, 5) for w in ("put", "get")]
    out = tmp_path / "out.svg"
    args = ["--x", "n", "--y", "p50", "--y", "p99", "--by", "w", "--log-y", "--title", "T"]
    assert chart.main([*args, write_lines(tmp_path / "in.jsonl", *rows), "-o", str(out)]) == 0
    root = parsed(out.read_text())
    assert len(lines(root)) == 4
    assert {"T", "put p50", "put p99", "get p50", "get p99"} <= set(texts(root))


@pytest.mark.parametrize(
    "content, words",
    [
        (None, "No such file"),
        ("{}\nnot json\n", "line 2 is not JSON"),
        ("[1]\n", "line 1 is no JSON object"),
        ('{"clients": 1, "ops_per_s": "many"}\n', "no line has numbers for both clients and ops_per_s"),
        ("", "no line has numbers"),
    ],
)
def test_bad_lines_are_named_in_one_line(tmp_path, capsys, content, words):
    source = tmp_path / "in.jsonl"
    if content is not None:
        source.write_text(content)
    args = ["--x", "clients", "--y", "ops_per_s", str(source), "-o", str(tmp_path / "out.svg")]
    assert chart.main(args) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not (tmp_path / "out.svg").exists()


# -- of one run ----------------------------------------------------------------------------------------------


def test_the_picture_of_a_run_shows_an_outage_as_a_gap(tmp_path):
    result = Result(Workload("outage", "put", 1), begin=0.0, seconds=5.0)
    rates = (100.0, 100.0, 0.0, 100.0, 100.0)
    result.slices = [Slice(at, at + 1.0, rate, 500.0, 900.0) for at, rate in enumerate(rates)]
    for latency_ns in (400_000, 500_000, 900_000, 2_000_000_000):
        result.latencies.record(latency_ns)
    path = str(tmp_path / "run.svg")
    picture.draw(result, path)
    root = parsed((tmp_path / "run.svg").read_text())
    latency, rate, distribution = root.findall(f"{SVG}g")
    assert [len(line) for line in lines(latency)] == [2, 2, 2, 2]
    assert [len(line) for line in lines(rate)] == [5]
    ys = [y for _, y in lines(distribution)[0]]
    assert len(ys) == 4 and ys == sorted(ys, reverse=True)
    assert any(re.fullmatch("outage: 1 client, 16 byte values", text) for text in texts(root))


def test_several_pictures_get_names_of_their_own():
    assert picture.path_for("a/out.svg", "put64", alone=True) == "a/out.svg"
    assert picture.path_for("a/out.svg", "put64", alone=False) == "a/out-put64.svg"
