"""`gan-zoo bench`: files, exit codes, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from commandline import zoo
from made import kernel_report, step_report

from gan_zoo.bench import kernels, step
from gan_zoo.bench.record import read


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The suites' arguments; the suites return at once."""
    given: dict[str, Any] = {}

    def measured(name: str, report: Any) -> Any:
        def suite(device: Any, **options: Any) -> Any:
            given.update(suite=name, device=str(device), **options)
            options.get("keep", lambda _: None)(report)
            return report

        return suite

    monkeypatch.setattr(step, "step", measured("step", step_report()))
    monkeypatch.setattr(kernels, "kernels", measured("kernels", kernel_report()))
    return given


@pytest.mark.parametrize(("words", "suite"), [((), "step"), (("step",), "step"), (("kernels",), "kernels")])
def test_a_suite_is_measured_shown_and_written(
    words: tuple[str, ...], suite: str, asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = zoo("bench", *words, "--quick", "--device", "cpu")
    assert ended.code == 0
    (written,) = tmp_path.glob("*.json")
    assert written.name.startswith(f"{suite}-")
    assert read(written).suite == suite
    assert (asked["suite"], asked["device"], asked["quick"]) == (suite, "cpu", True)
    assert ("infogan" if suite == "step" else "q_head_nll") in ended.out


def test_choices_reach_the_grid_and_the_report_its_file(asked: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "card.json"
    chosen = ("--trunk", "dcgan", "--precision", "bf16", "fp32", "--mode", "eager", "--batch-size", "64", "128")
    ended = zoo("bench", "step", *chosen, "--seconds", "2", "--device", "cpu", "--out", out)
    assert ended.code == 0
    assert asked["chosen"] == {"trunk": ("dcgan",), "precision": ("bf16", "fp32"), "mode": ("eager",)}
    assert (asked["batches"], asked["seconds"]) == ((64, 128), 2.0)
    assert read(out) == step_report()
    assert {path.name for path in tmp_path.iterdir()} == {"card.json", "card.md", "card.png"}
    assert "a note" in ended.out


def test_a_later_report_leaves_an_earlier_one(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        assert zoo("bench", "kernels", "--device", "cpu").code == 0
    names = sorted(path.stem for path in tmp_path.glob("*.json"))
    assert names[1:] == [f"{names[0]}-2", f"{names[0]}-3"]


def test_measuring_goes_on_where_the_file_fails_on_the_way(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(28, "No space left on device", "x.json")

    monkeypatch.setattr("gan_zoo.bench.record.write_json", refused)
    ended = zoo("bench", "step", "--device", "cpu", "--out", tmp_path / "x.json")
    assert ended.code == 2
    assert "infogan" in ended.out and "a note" in ended.out
    first, *_, last = ended.err.splitlines()
    assert first.endswith("x.json cannot be written: No space left on device; continuing")
    assert last == "gan-zoo: x.json cannot be written: No space left on device"


def test_a_slow_down_beyond_the_intervals_ends_with_exit_code_1(tmp_path: Path) -> None:
    for name, scale in (("a", 1.0), ("same", 1.0), ("slow", 1.2), ("fast", 0.8)):
        step_report(scale=scale).write(tmp_path / f"{name}.json")
    first = tmp_path / "a.json"
    assert zoo("bench", "compare", first, tmp_path / "same.json", tmp_path / "fast.json").code == 0
    slow = zoo("bench", "compare", first, tmp_path / "slow.json")
    assert slow.code == 1
    assert slow.err.startswith(
        f"gan-zoo: slower than {first} beyond the confidence intervals, or failed: dcgan · 64 · 100 · fp32 · eager"
    )
    assert "×1.200 slower" in slow.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("compare",), ["two reports or more, not 0"]),
        (("compare", "none.json", "other.json"), ["none.json", "No such file"]),
        (("kernels", "--trunk", "dcgan"), ["gan-zoo: bench kernels has no --trunk"]),
        (("compare", "a.json", "b.json", "--quick"), ["gan-zoo: bench compare has no --quick"]),
        (("step", "a.json"), ["takes no reports", "a.json", "bench compare"]),
        (("step", "--out", "report.txt"), ["report.txt", ".json"]),
        (("step", "--device", "tpu"), ["'tpu'"]),
        (("step", "--trunk", "resnett", "--device", "cpu"), ["unknown trunk", "'resnett'", "'resnet'"]),
        (("step", "--batch-size", "1", "--device", "cpu"), ["--batch-size must be at least 2"]),
    ],
)
def test_bad_input_is_told_in_one_line(words: tuple[str, ...], told: list[str]) -> None:
    ended = zoo("bench", *words)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    for word in told:
        assert word in ended.err


@pytest.mark.slow
def test_quick_measures_something_on_this_machine(tmp_path: Path) -> None:
    out = tmp_path / "here.json"
    assert zoo("bench", "step", "--quick", "--device", "cpu", "--batch-size", "8", "--out", out).code == 0
    report = read(out)
    assert all(set(cell.cases) == {"gan", "infogan"} for cell in report.cells)
    assert report.rates["matmul/fp32"] > 1e8
