"""Reports as tables, Markdown and a plot."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import kernel_report, samples, step_report
from PIL import Image
from rich.console import Console

from gan_zoo.bench import pages
from gan_zoo.bench.compare import compare
from gan_zoo.bench.record import Interval


def shown(table: object) -> str:
    console = Console(width=240)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_a_step_s_row_tells_time_speed_ratio_work_and_waiting() -> None:
    plain, info, missing = pages.rows(step_report())
    assert plain == (
        *("dcgan · 64 · 100 · fp32 · eager", "gan", "100 [100, 100]", "1,000", "", "2.00", "50%", "0.10%", "3"),
    )
    assert info[2:5] == ("110 [110, 110]", "909", "0.909 [0.909, 0.909]")
    assert info[6] == "45%"
    assert missing == ("dcgan · 64 · 200 · fp32 · eager", "all", "out of memory", *[""] * 6)
    assert len(plain) == len(pages.titles(step_report()))


def test_a_kernel_s_row_tells_its_traffic_beside_a_copy_s() -> None:
    ours, graph = pages.rows(kernel_report())
    assert ours == ("q_head_nll · 128 · bf16 · both", "ours", "10.0 [10.0, 10.0]", "2", "10.0", "50%")
    assert graph[1:3] == ("ours, CUDA graph", "no GPU")


def test_what_only_a_gpu_has_is_told_where_it_is_known() -> None:
    (cell,) = step_report().cells[:1]
    known = {"gan": samples(0.1, kernels=291.4, busy=0.864, host_seconds=2.5e-4), "infogan": samples(0.1)}
    report = step_report(cells=(cell.model_copy(update={"cases": known}),))
    assert pages.titles(report)[-3:] == ("kernels", "GPU busy", "host µs")
    plain, info = pages.rows(report)
    assert plain[-3:] == ("291", "86%", "250") and info[-3:] == ("", "", "")
    assert "kernels" not in pages.titles(step_report())


def test_the_page_names_the_device_its_rates_and_what_is_missing() -> None:
    page = pages.markdown(step_report())
    assert page.startswith("### a card\n")
    for part in ("torch 9.9", "triton 8.8", "2 threads", "fp32 40 GFLOP/s", "copy: 10.0 GB/s", "- a note", "of matmul"):
        assert part in page
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1


def test_a_cell_is_named_once_in_a_terminal() -> None:
    assert shown(pages.report_table(step_report())).count("dcgan · 64 · 100") == 1


def test_reports_side_by_side_tell_by_how_much_and_whether_beyond_the_intervals() -> None:
    told = shown(pages.comparison(compare([("a.json", step_report()), ("b.json", step_report(scale=1.5))])))
    assert "a.json" in told
    assert "150 ms  ×1.500 slower" in told
    assert "×1.000 same" in told


def test_what_is_written_beside_a_report_is_a_page_and_a_plot_of_the_ratios(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, plot = pages.write(step_report(), tmp_path / "card.json")
    assert (page.name, plot.name) == ("card.md", "card.png")
    with Image.open(plot) as image:
        assert image.width > 400
    monkeypatch.setattr(pages, "find_spec", lambda name: None)
    assert [p.name for p in pages.write(step_report(), tmp_path / "plain.json")] == ["plain.md"]
    assert [p.name for p in pages.write(kernel_report(), tmp_path / "kernels.json")] == ["kernels.md"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ((0.12345, 0.1, 0.2), "0.123 [0.100, 0.200]"),
        ((1234.5, 1, 99999), "1,234 [1.00, 99,999]"),
        ((150, 150, 150), "150 [150, 150]"),
    ],
)
def test_an_interval_is_told_in_three_digits(value: tuple[float, float, float], told: str) -> None:
    assert pages.spread(Interval(*value)) == told
