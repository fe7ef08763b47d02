import json
import sys
from pathlib import Path

import pytest

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
