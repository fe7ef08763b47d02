"""Opening datasets by name, and the effect of the settings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_zoo.config import Data
from gan_zoo.data.dataset import Dataset, open_dataset
from gan_zoo.data.pixels import fit
from gan_zoo.errors import InputError
from gan_zoo.shapes import ImageShape


def refused(settings: Data) -> str:
    """The one line with which `settings` are refused."""
    with pytest.raises(InputError) as caught:
        open_dataset(settings)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_bundled_digits_are_split_by_class() -> None:
    digits = open_dataset(Data())
    assert digits.image == ImageShape(1, 28)
    assert digits.classes == 10
    assert digits.test is not None
    assert (len(digits.train), len(digits.test)) == (4500, 500)
    for split, each in ((digits.train, 450), (digits.test, 50)):
        assert split.labels is not None
        assert torch.bincount(split.labels).tolist() == [each] * 10
    assert isinstance(digits.train.images, torch.Tensor)
    corner = digits.train.images[:, :, 0, 0]
    assert corner.max() == 0, "the background is 0"
    assert digits.train.images.max() == 255


def test_bundled_digits_follow_resolution_channels_and_classes() -> None:
    digits = open_dataset(Data(resolution=32, channels=3, classes=0))
    assert digits.image == ImageShape(3, 32)
    assert digits.classes == 0
    assert digits.train.labels is None
    assert digits.train.pixels(torch.tensor([0, 4499])).shape == (2, 3, 32, 32)


def test_a_set_too_large_for_its_memory_is_fitted_when_drawn() -> None:
    held = open_dataset(Data(resolution=16))
    lazy = open_dataset(Data(resolution=16, memory=0))
    indices = torch.tensor([5, 1000, 7])
    assert not isinstance(lazy.train.images, torch.Tensor)
    assert torch.equal(lazy.train.pixels(indices), held.train.pixels(indices))


def test_too_few_classes_are_refused() -> None:
    message = refused(Data(classes=9))
    assert "0 to 9" in message
    assert "0 to 8" in message


def test_unknown_names_and_paths_are_refused(tmp_path: Path) -> None:
    assert "did you mean 'mnist-5k'" in refused(Data(name="mnist5k"))
    assert "no such file or folder" in refused(Data(name=str(tmp_path / "none")))
    assert "no such file or folder" in refused(Data(name="none.npz"))
    text = tmp_path / "notes.txt"
    text.write_text("no images")
    assert "neither a folder nor" in refused(Data(name=str(text)))
    assert "must not be given as well" in refused(Data(name=str(tmp_path), path="elsewhere"))


def test_a_path_opens_as_folder_or_array(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", np.zeros((5, 8, 8), np.uint8))
    assert open_dataset(Data(name=str(tmp_path))).image == ImageShape(3, 8)
    assert len(open_dataset(Data(name=str(tmp_path / "b.npy"))).train) == 5


def test_a_registered_callable_has_to_return_a_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_zoo.data.bundled.mnist_5k", lambda settings: [1, 2])
    assert "returned a list" in refused(Data())


def test_importing_the_package_does_not_import_torch() -> None:
    import subprocess
    import sys

    code = "import gan_zoo.data, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("size", "shape"), [((40, 28), ImageShape(1, 14)), ((9, 13), ImageShape(3, 24))])
def test_arrays_are_fitted_like_files(size: tuple[int, int], shape: ImageShape) -> None:
    from gan_zoo.data.pixels import decode

    rng = np.random.default_rng(0)
    # Values away from 0 and 255, since Pillow clips between its two passes and torch at the end.
    colour = rng.integers(64, 192, (*size, 3), dtype=np.uint8)
    by_torch = fit(torch.from_numpy(colour).permute(2, 0, 1)[None], shape)[0]
    by_pillow = decode(Image.fromarray(colour), shape)
    assert by_torch.shape == (shape.channels, shape.resolution, shape.resolution)
    assert (by_torch.int() - by_pillow.int()).abs().max() <= 2


def test_fit_keeps_the_centre_and_averages_when_it_shrinks() -> None:
    wide = torch.zeros(1, 1, 4, 10, dtype=torch.uint8)
    wide[..., 3:7] = torch.arange(16, dtype=torch.uint8).reshape(4, 4)
    assert torch.equal(fit(wide, ImageShape(1, 4)), wide[..., 3:7])
    checks = (torch.arange(64)[:, None] + torch.arange(64)).remainder(2).mul(255).to(torch.uint8)[None, None]
    assert (fit(checks, ImageShape(1, 8)).int() - 127).abs().max() <= 2, "no aliasing"


def test_dataset_and_split_compare_by_identity() -> None:
    digits = open_dataset(Data())
    assert isinstance(digits, Dataset)
    assert digits != open_dataset(Data())
    assert digits in [digits]


@pytest.mark.parametrize("name", ["~nobody-of-this-name/set", "x" * 5000, "a" * 5000 + ".npz"])
def test_names_that_no_file_can_have_are_refused(name: str) -> None:
    for settings in (Data(name=name), Data(name="array", path=name), Data(name="folder", path=name)):
        with pytest.raises(InputError, match="is not a path: ") as caught:
            open_dataset(settings)
        assert len(str(caught.value)) < 200


def test_a_name_that_is_no_set_says_that_there_is_no_such_folder_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = refused(Data(name="imgs"))
    assert message.startswith(f"unknown dataset 'imgs', and no such file or folder in {tmp_path}. Known: ")
    for name in ("./imgs", "imgs/", "~/none-such", str(tmp_path / "imgs"), "imgs.npz"):
        message = refused(Data(name=name))
        assert "no such file or folder" in message and "unknown dataset" not in message, name
    (tmp_path / "imgs").mkdir()
    assert "contains no images (it is empty)" in refused(Data(name="imgs"))
