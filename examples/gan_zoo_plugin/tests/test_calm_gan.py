"""The model calm-gan is registered and trains."""

from pathlib import Path

import gan_zoo


def test_it_trains(tmp_path: Path) -> None:
    run = gan_zoo.train("calm-gan", out=tmp_path / "run", steps=2, batch_size=4, width=4, log_every=1, device="cpu")
    assert [line["step"] for line in run.metrics()] == [1, 2]
    assert all(line["discriminator/calm"] > 0 for line in run.metrics())
    assert gan_zoo.load(run.folder).sample(3).shape == (3, 1, 28, 28)
