"""ONNX exports: onnxruntime's output equals torch's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from commandline import zoo
from narrow import narrow_config, narrow_train, one_line

import gan_zoo
from gan_zoo.errors import InputError, TrainingError
from gan_zoo.export import onnx as of_onnx
from gan_zoo.models.gan.model import GAN
from gan_zoo.models.infogan.q_head import Gaussian
from gan_zoo.training.build import build_model

MIX = "categorical:5, uniform:1, gaussian:1, bernoulli(0.3):2"

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
ort = pytest.importorskip("onnxruntime")


def model_of(name: str, trunk: str, **settings: Any) -> GAN:
    """A model with weights and statistics that are not those of its beginning."""
    model = build_model(narrow_config(name, trunk__name=trunk, **settings))
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1 + 0.2 * torch.rand(tensor.shape, generator=random))
    return model.eval()


SLOW = pytest.mark.slow
TRUNKS = ["mlp", *(pytest.param(trunk, marks=SLOW) for trunk in ("infogan-mnist", "dcgan", "resnet"))]


@pytest.mark.parametrize("trunk", TRUNKS)
def test_onnx_agrees_with_torch(trunk: str, capsys: pytest.CaptureFixture[str]) -> None:
    model: Any = model_of("infogan", trunk, infogan__codes=MIX)
    files = of_onnx.networks(model)
    assert capsys.readouterr().err.count("differs from torch") == len(files) == 2
    sessions = {name: ort.InferenceSession(content) for name, content in files.items()}
    for n in (1, 2, 5):
        latents = model.prior.sample(n, seed=n + 1)
        images = model.generate(latents)
        (found,) = sessions["generator.onnx"].run(["images"], {"latent": latents.input.numpy()})
        assert torch.allclose(torch.from_numpy(found), images, atol=1e-4)
        told = model.encode(images)
        for code in model.codes:
            expected = told[code.name]
            names = [f"{code.name}.mean", f"{code.name}.log_variance"] if not code.discrete else [code.name]
            values = sessions["encoder.onnx"].run(names, {"images": images.numpy()})
            tensors = list(expected) if isinstance(expected, Gaussian) else [expected]
            for value, tensor in zip(values, tensors, strict=True):
                assert torch.allclose(torch.from_numpy(value), tensor, atol=1e-4, rtol=1e-4)
    assert all(str(Path(of_onnx.__file__).parent.parent).encode() not in content for content in files.values())


@SLOW
@pytest.mark.parametrize(
    ("name", "trunk", "files"), [("sngan", "resnet", 1), ("acgan", "dcgan", 2), ("projection-gan", "dcgan", 1)]
)
def test_other_models_agree_too(name: str, trunk: str, files: int) -> None:
    assert len(of_onnx.networks(model_of(name, trunk))) == files


def test_a_network_that_does_not_agree_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + (2e-4 if torch.compiler.is_exporting() else 0)

    with pytest.raises(TrainingError) as error:
        of_onnx._checked("generator", Other(), torch.zeros(7, 3), "latent", ["images"])
    assert "generator.onnx does not agree with torch: images differs by 0.0002" in one_line(error)


def test_the_command_writes_them_beside_the_weights(tmp_path: Path) -> None:
    run = narrow_train("infogan", tmp_path / "run", training__steps=1, trunk__name="mlp")
    ended = zoo("export", run.folder, "--out", tmp_path / "out", "--onnx")
    assert ended.code == 0, ended.err
    assert "differs from torch" in ended.err
    for name in ("generator.onnx", "encoder.onnx"):
        assert (tmp_path / "out" / name).stat().st_size > 1000
        assert name in (tmp_path / "out" / "README.md").read_text()
    assert gan_zoo.load(tmp_path / "out").codes


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("gan_zoo.extras.find_spec", lambda name: None if name == "onnxruntime" else object())
    with pytest.raises(InputError) as error:
        of_onnx.check_installed()
    assert one_line(error) == "--onnx requires an extra: pip install 'gan-zoo[onnx]'"
