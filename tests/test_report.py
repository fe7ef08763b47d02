"""A run's page: everything is in it, nothing is loaded, and what a run brings is text and no markup."""

from __future__ import annotations

import json
import math
import re
import shutil
from base64 import b64decode
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from commandline import zoo
from narrow import narrow_train

from gan_zoo.analysis.curves import (
    ALONE,
    MOST_CHARTS,
    MOST_POINTS,
    RIGHT,
    WIDTH,
    Chart,
    charts,
    draw,
    sections,
    stamp,
    thinned,
    ticks,
)
from gan_zoo.analysis.results import Measurement

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """The tags of a page, once they are found to close each other."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose files try to be markup, and one that leads elsewhere."""
    place = tmp_path_factory.mktemp("place")
    run = narrow_train("infogan", place / "a <run>", training__steps=5, logging__sample_every=2)
    with run.metrics_file.open("a") as file:
        file.write(json.dumps({"step": 5, "<script>alert(1)</script>": 1.0, "odd": math.nan, "word": "x"}) + "\n")
    one = Measurement("<b>", {"x": 0.25}, step=5, weights="a", n=10, seed=0, note="<i>a note</i>")
    (run.folder / "evaluation.json").write_text(json.dumps({"measurements": [asdict(one)]}))
    (place / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\nsecret")
    (run.samples / "traversal.png").symlink_to(place / "secret.png")
    (run.samples / "samples.png").write_bytes(b"no picture")
    return run.folder


def test_a_page_holds_all_it_shows(folder: Path) -> None:
    ended = zoo("report", folder)
    assert ended.code == 0, ended.err
    assert ended.out.strip() == str(folder / "report.html")
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "b>"})
    sources = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    assert len(sources) == 1 + 3 + 3  # samples, a traversal of each code, and samples of steps 2, 4 and 5
    for source in sources:
        assert b64decode(source.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
    assert not re.search(r"(?:src|href)=\"(?!data:)|url\(|@import|https?://", text)
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    for word in ("a &lt;run&gt;", "done, step 5 of 5", "[infogan]", "&lt;b&gt;", "0.2500", "&lt;i&gt;a note", "Losses"):
        assert word in text
    assert "secret" not in text
    order = ["Samples, step 5", "L_I by code", "Figures", "Losses", "Speed", "<summary>Configuration"]
    places = [text.index(f"{word}</") for word in order]
    assert places == sorted(places)


def test_a_run_that_cannot_be_loaded_has_a_page_that_says_why(folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(folder, tmp_path / "run", symlinks=True))
    for weights in run.glob("checkpoints/*/model.safetensors"):
        weights.write_bytes(b"")
    assert zoo("report", run).code == 0
    text = (run / "report.html").read_text()
    assert "No samples: " in text and "model.safetensors" in text
    assert text.count("<img") == 3


def test_curves_are_of_the_numbers_of_the_log() -> None:
    others = {"mi": -1.0, "mi/c1": -2.0, "mi/c2": float("nan"), "flag": True}
    records = [{"step": k, "generator/a": k / 10, **others} for k in range(1, 6)]
    information, loss = charts(records)
    assert (information.section, information.title) == ("L_I by code", "c1")
    assert loss == Chart("Losses", "a", "loss", {"G": [(k, k / 10) for k in range(1, 6)]})
    drawn = draw(loss).partition("<ul")[0].removeprefix("<section>")
    (line,) = ElementTree.fromstring(f"<a>{drawn}</a>").findall("svg/polyline")
    points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    assert len(points) == 5
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)  # up is less


def test_a_code_is_drawn_with_its_maximum_a_term_with_both_networks_and_new_families_under_their_own_names() -> None:
    record = {
        "step": 1, "images_per_second": 9.0, "generator/a": 1.0, "discriminator/a": 2.0, "discriminator/b": 3.0,
        "mi/c1": 4.0, "mi": 5.0, "entropy/c1": 6.0, "evaluation/mi/c1": 7.0, "evaluation/frechet/random": 8.0,
        "gradient_norm/generator": 1.0, "loss_scale": 2.0,
    }  # fmt: skip
    found = {(chart.section, chart.title): list(chart.curves) for chart in charts([record])}
    assert found == {
        ("L_I by code", "c1"): ["L_I", "H(c)", "L_I, evaluated"],
        ("Evaluation", "Fréchet distance"): ["random"],
        ("Losses", "a"): ["G", "D"],
        ("Losses", "b"): ["D"],
        ("Training", "gradient norm"): ["generator"],
        ("Training", "loss scale"): ["loss scale"],
        ("Speed", "images per second"): ["images per second"],
    }
    drawn = sections(charts([record]))
    assert "key c1" in drawn["Losses"] and "key c0" in drawn["Losses"], "each network has a colour of its own"
    continuous = draw(Chart("L_I by code", "c2", "nats", {"L_I": [(1, 1.0)], "L_I, evaluated": [(1, 2.0)]}))
    key = '<span class="key c2"></span>L_I, evaluated'
    assert key in drawn["L_I by code"] and key in continuous, "with H(c) in the chart or without"
    assert list(drawn) == ["L_I by code", "Evaluation", "Losses", "Training", "Speed"]
    assert drawn["L_I by code"].count(' limit"') == 2  # the point of H(c), and its key


def test_the_only_chart_of_a_section_is_wider() -> None:
    drawn = sections(charts([{"step": k, "images_per_second": 1.0, "mi/c1": 1.0, "mi/c2": 1.0} for k in (1, 2)]))
    assert drawn["Speed"].count(f'viewBox="0 0 {ALONE} ') == 1
    assert drawn["L_I by code"].count(f'viewBox="0 0 {WIDTH} ') == 2
    (curve,) = re.findall(r'points="([^"]*)"', drawn["Speed"])
    assert float(curve.split()[-1].partition(",")[0]) == ALONE - RIGHT, "as wide as its picture"


def test_a_section_of_very_many_charts_says_how_many_are_left_out() -> None:
    drawn = sections(charts([{"step": 1} | {f"mi/c{k}": 1.0 for k in range(MOST_CHARTS + 3)}]))["L_I by code"]
    assert drawn.count("<svg") == MOST_CHARTS
    assert "3 further charts are left out" in drawn


def one(curves: dict[str, list[tuple[int, float]]]) -> str:
    return draw(Chart("Losses", "a", "loss", curves))


def test_a_single_point_and_a_constant_are_drawn() -> None:
    assert "<circle" in one({"a": [(3, 2.0)]})
    assert "nan" not in one({"a": [(1, 2.0), (2, 2.0)], "b": [(1, 2.0)]})
    assert "and 2 more" in one({str(k): [(1, 1.0), (2, 2.0)] for k in range(10)})
    assert "loss</text>" in one({"a": [(3, 2.0)]}) and "step</text>" in one({"a": [(3, 2.0)]})


def test_a_long_curve_is_thinned_to_means() -> None:
    curve = [(k, float(k)) for k in range(1, 1001)]
    few = thinned(curve)
    assert len(few) <= MOST_POINTS
    assert few[0] == (3, 2.0)
    assert few[-1] == (1000, 1000.0)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 7.7), (1e-9, 2e-9), (0, 123456), (0.999999, 1.000001)])
def test_ticks_are_round_and_within(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 8
    slack = (high - low) * 1e-6
    assert all(low - slack <= tick <= high + slack for tick in found)


def test_the_stamp_changes_with_the_log(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    assert stamp(log) == ""
    log.write_text('{"step": 1}\n')
    before = stamp(log)
    assert before
    with log.open("a") as file:
        file.write('{"step": 2}\n')
    assert stamp(log) != before


def test_a_page_goes_where_it_is_asked_to(folder: Path, tmp_path: Path) -> None:
    assert zoo("report", folder, "--out", tmp_path / "page.html").code == 0
    assert (tmp_path / "page.html").is_file()
