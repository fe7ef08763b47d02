from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a classifier that trains briefly."""
    place = tmp_path / "cache"
    monkeypatch.setenv("GAN_ZOO_CACHE", str(place))
    monkeypatch.setattr("gan_zoo.analysis.classifier.EPOCHS", 0)
    monkeypatch.setattr("gan_zoo.analysis.classifier.LEAST_STEPS", 15)
    monkeypatch.setattr("gan_zoo.analysis.classifier.BATCH", 30)
    return place
