import json
import sys
from pathlib import Path

import pytest
import torch

from gan_zoo.data.dataset import Split

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import q_accuracy

TINY = """
model = "infogan"
[trunk]
width = 4
[training]
steps = 2
batch_size = 8
ema = 0.0
"""


class Oracle:
    """Tells classes 0, 1, 2 as codes 2, 0, 1."""

    device = torch.device("cpu")

    class Code:
        name, classes = "c1", 3

    codes = (Code(),)

    def encode(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        classes = ((images[:, 0, 0, 0] + 1) * 127.5).round().long()
        return {"c1": torch.eye(3)[(classes + 2) % 3]}


def test_agreement_counts_images_by_code_and_class() -> None:
    labels = torch.tensor([0, 1, 2, 2, 1, 2])
    images = labels.to(torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4).contiguous()
    table = q_accuracy.agreement(Oracle(), Split(images, labels), 3)
    assert table.tolist() == [[0, 2, 0], [0, 0, 3], [1, 0, 0]]


def test_accuracies_of_seeds_are_written_and_a_finished_run_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    out = tmp_path / "q.json"
    arguments = ["q", "--config", str(tmp_path / "tiny.toml"), "--seeds", "0", "1", "--runs", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", [*arguments, "--out", str(out)])
    q_accuracy.main()
    first = json.loads(out.read_text())
    assert [row["seed"] for row in first["runs"]] == [0, 1]
    assert first["test_accuracy"]["worst"] <= first["test_accuracy"]["mean"]
    monkeypatch.setattr(q_accuracy.gan_zoo, "train", lambda *a, **k: pytest.fail("trained again"))
    q_accuracy.main()
    assert json.loads(out.read_text())["test_accuracy"] == first["test_accuracy"]
