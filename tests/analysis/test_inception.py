"""Inception's features, and the errors if network or weights are missing."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from narrow import one_line
from safetensors.torch import save_file

from gan_zoo.analysis.inception import default_weights, inception
from gan_zoo.errors import InputError


class Network(torch.nn.Module):
    """Has the interface of torch-fidelity's network; its features are the mean of each channel."""

    def __init__(self, name: str, features: list[str], feature_extractor_weights_path: str) -> None:
        super().__init__()
        assert features == ["2048"]
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.load_state_dict(torch.load(feature_extractor_weights_path, weights_only=True))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        assert images.dtype == torch.uint8
        assert images.shape[1:] == (3, 5, 5)
        return (self.weight * images.float().mean((2, 3)),)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    package, module = ModuleType("torch_fidelity"), ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = Network  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_fidelity", package)
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.usefixtures("library")
def test_grey_images_are_shown_in_three_channels(tmp_path: Path) -> None:
    save_file({"weight": torch.tensor([2.0])}, tmp_path / "w.safetensors")
    images = torch.arange(120, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 5, 5)
    features = inception(tmp_path / "w.safetensors").features(images)
    assert torch.equal(features, 2 * torch.arange(120.0)[:, None].expand(-1, 3))


@pytest.mark.usefixtures("library")
def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file({"other": torch.tensor([2.0])}, tmp_path / "w.safetensors")
    with pytest.raises(InputError) as error:
        inception(tmp_path / "w.safetensors")
    assert "w.safetensors does not hold" in one_line(error)


def test_a_pickle_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "w.pth")
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("a pickle was opened"))
    with pytest.raises(InputError) as error:
        inception(tmp_path / "w.pth")
    assert "not readable as safetensors" in one_line(error)


def test_weights_that_are_not_at_hand_are_not_downloaded(cache: Path) -> None:
    assert default_weights().parent == cache
    with pytest.raises(InputError) as error:
        inception()
    assert str(default_weights()) in one_line(error)
    assert "not downloaded" in one_line(error)


def test_a_library_that_cannot_be_imported_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "w.safetensors")

    class Broken:
        def find_spec(self, name: str, *_: Any) -> None:
            if name.startswith("torch_fidelity"):
                raise RuntimeError("operator torchvision::nms does not exist\nat line 3")

    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(InputError) as error:
        inception(tmp_path / "w.safetensors")
    assert "gan-zoo[inception]" in one_line(error)
    assert "torchvision::nms" in one_line(error)
