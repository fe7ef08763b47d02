"""What benchmarks/inversion.py measures, on images of known slant and width, and what the documentation states."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path

import pytest
import torch
from narrow import narrow_train

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import inversion

ROOT = Path(__file__).parents[1]
RECORD = json.loads((ROOT / "benchmarks/results/mnist-5k-inversion.json").read_text(encoding="utf-8"))


def bar(slant: float, width: float, side: int = 64) -> torch.Tensor:
    """A bright bar of Gaussian profile, [1, 1, side, side] in [-1, 1]."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    up = side / 2 - rows
    straight = columns - side / 2 - slant * up
    brightness = torch.exp(-((straight / width) ** 2) / 2) * (up.abs() < 16)
    return (2 * brightness - 1)[None, None].float()


@pytest.mark.parametrize("slant", [-0.5, 0.0, 0.7])
@pytest.mark.parametrize("width", [2.0, 4.0])
def test_slant_and_width_are_those_of_the_stroke(slant: float, width: float) -> None:
    measured = inversion.slant_and_width(bar(slant, width))
    assert [value.item() for value in measured] == pytest.approx([slant, width], abs=0.02)


def test_columns_are_monotone_if_every_step_has_one_sign() -> None:
    rising, flat, falling, bent = [0.0, 1, 2], [0.0, 1, 1], [2.0, 1, 0], [0.0, 2, 1]
    assert inversion.monotone(torch.tensor([rising, flat, falling, bent]).T) == 0.25
    assert inversion.monotone(torch.tensor([rising, falling, falling]).T) == pytest.approx(2 / 3)


def test_the_nearest_image_is_as_far_as_its_pixels_say() -> None:
    images, others = torch.zeros(2, 1, 4, 4), torch.stack([torch.full((1, 4, 4), x) for x in (1.0, -0.2)])
    assert inversion.nearest(images, others).tolist() == pytest.approx([0.2 * 127.5] * 2)


def test_a_run_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gan_zoo.data.dataset import open_dataset

    monkeypatch.setattr(inversion, "IMAGES", 5)
    monkeypatch.setattr(inversion, "TIMED", 1)
    monkeypatch.setattr(inversion, "VALUES", (-1.0, 1.0))
    run = narrow_train(
        "infogan", tmp_path / "run", steps=1, infogan__codes="categorical:10, uniform:1", data="mnist-5k"
    )
    data = open_dataset(run.config.data)

    class Ones:
        def predict(self, images: torch.Tensor) -> torch.Tensor:
            return torch.ones(len(images), dtype=torch.long)

    row = inversion.measure(run, data, Ones())  # type: ignore[arg-type]
    assert row["digits"] == 5
    assert 0 < row["rmse"] <= row["rmse_worst"] < 255
    assert row["same_class_reconstructed"] == row["codes"]["c2"]["keeps_class"] == 1
    assert row["codes"].keys() == {"c2"}
    assert all(math.isfinite(value) for value in row["codes"]["c2"].values())
    assert row.keys() == RECORD["runs"][0].keys() - {"seed"}


def test_the_page_states_what_was_measured() -> None:
    page = (ROOT / "docs/edit.md").read_text(encoding="utf-8")
    table = [line.split(" | ")[1:] for line in page.splitlines() if line.startswith("| ") and "seed" not in line][1:]
    stated = [[re.findall(r"-?\d+\.\d+", cell) for cell in row] for row in table]

    def row(digits: int, *names: str, code: str = "") -> list[list[str]]:
        of_run = [run["codes"][code] if code else run for run in RECORD["runs"]]
        return [[f"{figures[name]:.{digits}f}" for name in names] for figures in of_run]

    measured = [
        row(1, "rmse"), row(1, "rmse_of_nearest_training_image"), row(2, "nearer_than_training_image"),
        row(2, "same_class_reconstructed"),
    ]  # fmt: skip
    for code in ("c2", "c3"):
        measured += [
            row(2, "slant_change", "width_change", code=code), row(2, "slant_monotone", "width_monotone", code=code),
            row(2, "keeps_q", "keeps_class", code=code),
        ]  # fmt: skip
    assert stated == measured


def test_the_targets_are_met() -> None:
    assert all(run["digits"] == 100 for run in RECORD["runs"])
    summary = RECORD["summary"]
    assert summary["rmse"] < 0.6 * summary["rmse_of_nearest_training_image"]
    assert min(summary["least_keeps_q"], summary["least_keeps_class"], summary["least_slant_monotone"]) >= 0.9
