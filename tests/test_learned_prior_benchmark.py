"""What benchmarks/learned_prior.py reports, on a model whose codes are known."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gan_zoo.data.dataset import Dataset, Split
from gan_zoo.errors import InputError
from gan_zoo.shapes import ImageShape

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import learned_prior
import runs

TINY = """
model = "infogan"
[data]
balance = [1, 0.5, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
[trunk]
width = 4
[training]
steps = 2
batch_size = 8
ema = 0.0
[infogan]
prior = "learned"
"""


class Oracle:
    """Tells classes 0, 1, 2 as codes 2, 0, 1; the prior of the codes is given."""

    device = torch.device("cpu")

    class Code:
        name, kind, classes = "c1", "categorical", 3

    codes = (Code(),)

    def __init__(self, *prior: float) -> None:
        self.given = {"c1": torch.tensor(prior)} if prior else {}
        self.prior = self

    def probabilities(self) -> dict[str, torch.Tensor]:
        return self.given

    def encode(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        classes = ((images[:, 0, 0, 0] + 1) * 127.5).round().long()
        return {"c1": torch.eye(3)[(classes + 2) % 3]}


def labelled(*labels: int) -> Split:
    values = torch.tensor(labels)
    return Split(values.to(torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4).contiguous(), values)


UNEVEN = Dataset("made", ImageShape(1, 4), 3, labelled(0, 0, 0, 0, 0, 1, 1, 1, 2, 2), labelled(0, 0, 1, 2))


def test_a_prior_is_compared_with_the_shares_in_the_order_of_the_classes() -> None:
    right = learned_prior.measure(Oracle(0.3, 0.2, 0.5), UNEVEN)  # type: ignore[arg-type]
    assert (right["accuracy"], right["nmi"]) == (1, pytest.approx(1))
    assert right["prior"] == right["found"] == pytest.approx([0.5, 0.3, 0.2])
    assert (right["share_error"], right["share_kl"]) == pytest.approx((0, 0), abs=1e-6)
    wrong = learned_prior.measure(Oracle(0.5, 0.3, 0.2), UNEVEN)  # type: ignore[arg-type]
    assert wrong["prior"] == pytest.approx([0.2, 0.5, 0.3])
    assert wrong["share_error"] == pytest.approx((0.3 + 0.2 + 0.1) / 3)
    assert learned_prior.measure(Oracle(), UNEVEN)["prior"] == pytest.approx([1 / 3] * 3, abs=1e-4)  # type: ignore[arg-type]


def test_the_summary_takes_the_worst_of_each_figure_by_its_own_direction() -> None:
    rows = [{"accuracy": a, "nmi": a, "share_error": 1 - a, "share_kl": 1 - a} for a in (0.5, 0.75)]
    found = learned_prior.summary(rows)
    assert found["nmi"] == {"mean": 0.625, "worst": 0.5}
    assert found["share_error"] == {"mean": 0.375, "worst": 0.5}


def test_as_many_codes_as_classes_are_needed() -> None:
    with pytest.raises(InputError, match="code c1 has 3 values; 2, one a class"):
        learned_prior.measure(Oracle(), replace(UNEVEN, classes=2))  # type: ignore[arg-type]


def test_runs_of_all_arms_are_written_and_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    out = tmp_path / "out.json"
    arguments = ["x", "--config", str(tmp_path / "tiny.toml"), "--seeds", "0", "--runs", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", [*arguments, "--out", str(out)])
    learned_prior.main()
    first = json.loads(out.read_text())
    assert set(first["runs"]) == set(first["summary"]) == {"learned", "held", "uniform", "even"}
    assert first["shares"][:4] == pytest.approx([450 / 1215, 225 / 1215, 225 / 1215, 45 / 1215], abs=1e-4)
    assert first["runs"]["uniform"][0]["prior"] == pytest.approx([0.1] * 10)
    assert first["runs"]["held"][0]["prior"] == first["runs"]["uniform"][0]["prior"]
    assert first["runs"]["learned"][0]["prior"] != first["runs"]["uniform"][0]["prior"]
    monkeypatch.setattr(runs.gan_zoo, "train", lambda *a, **k: pytest.fail("trained again"))
    learned_prior.main()
    assert json.loads(out.read_text())["summary"] == first["summary"]
