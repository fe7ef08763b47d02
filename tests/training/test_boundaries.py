"""What a run refuses before and after its folder is made, and the error messages."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest
import torch
from narrow import narrow_config, narrow_train, one_line
from PIL import Image

from gan_zoo.config_text import changes
from gan_zoo.data.dataset import Dataset, Split, open_dataset
from gan_zoo.errors import InputError, TrainingError
from gan_zoo.images import save_image
from gan_zoo.registry import datasets
from gan_zoo.shapes import ImageShape
from gan_zoo.training.build import build_model
from gan_zoo.training.checkpoint import checkpoints
from gan_zoo.training.precision import pick_precision
from gan_zoo.training.progress import clock
from gan_zoo.training.run import is_checkpoint
from gan_zoo.training.step import ORDERS

CPU = torch.device("cpu")


def test_a_run_whose_checkpoints_are_all_damaged_is_not_begun_anew(tmp_path: Path) -> None:
    run = narrow_train("gan", tmp_path / "run", training__steps=2)
    log = run.metrics_file.read_bytes()
    for checkpoint in checkpoints(run.checkpoints):
        (checkpoint / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError) as error:
        narrow_train(None, run.folder, resume=True, training__steps=4)
    assert "model.safetensors has changed since it was written" in one_line(error)
    assert run.metrics_file.read_bytes() == log


def test_a_run_may_lie_in_a_folder_called_checkpoints(tmp_path: Path) -> None:
    run = narrow_train("gan", tmp_path / "checkpoints" / "mine", training__steps=1)
    assert run.load().sample(1).shape == (1, 1, 28, 28)
    assert not is_checkpoint(run.folder)
    assert is_checkpoint(run.checkpoints / "step-00000001")


def test_networks_that_do_not_fit_the_memory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        narrow_train("gan", tmp_path / "run", latent__noise=10**9 - 1)
    assert re.search(r"networks of this configuration would take [\d,.]+ GiB of memory, and this", one_line(error))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("can't allocate memory: 8 bytes")]
)
def test_a_full_disk_or_memory_ends_the_run_in_one_line(
    failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setitem(ORDERS, "alternating", fail)
    with pytest.raises(TrainingError) as error:
        narrow_train("gan", tmp_path / "run", training__steps=1)
    assert str(failure) in one_line(error)
    assert one_line(error).endswith("; there is no earlier checkpoint; continue with --resume")


def test_a_full_disk_names_the_last_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gan_zoo.training.loop.save_image", fail)
    with pytest.raises(TrainingError) as error:
        narrow_train("gan", tmp_path / "run", training__steps=4, logging__checkpoint_every=2, logging__sample_every=3)
    last = tmp_path / "run" / "checkpoints" / "step-00000002"
    assert one_line(error).endswith(f"; the last good checkpoint is {last}; continue with --resume")


def test_an_error_of_another_kind_is_not_dressed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setitem(ORDERS, "alternating", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        narrow_train("gan", tmp_path / "run", training__steps=1)


@pytest.mark.parametrize(
    ("able", "precision"), [({"amx_bf16": True}, "bf16"), ({"avx512_bf16": True}, "bf16"), ({"avx2": True}, "fp32")]
)
def test_auto_precision_is_bf16_only_where_the_processor_has_it(
    able: dict[str, bool], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert pick_precision("auto", CPU) == precision
    assert pick_precision("fp16", CPU) == "fp16"


def test_a_resumed_run_says_what_was_changed() -> None:
    before, after = narrow_config("gan"), narrow_config("gan", training__batch_size=4, trunk__width=5)
    assert changes(before, after) == ["trunk.width: 4 → 5", "training.batch_size: 8 → 4"]
    assert changes(before, before) == []


@pytest.mark.parametrize(("seconds", "told"), [(0, "0:00"), (59.7, "1:00"), (90, "1:30"), (119.2, "1:59")])
def test_time_left_is_told_in_minutes_and_seconds(seconds: float, told: str) -> None:
    assert clock(seconds) == told


def test_a_picture_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OSError, match="folder.png") as error:
        save_image(Image.new("L", (2, 2)), tmp_path / "folder.png")
    assert "partial" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        (torch.rand(4, 1, 28, 28), None, "uint8"),
        (torch.zeros(4, 3, 28, 28, dtype=torch.uint8), None, "uint8 [n, *(1, 28, 28)]"),
        (torch.zeros(4, 1, 28, 28, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), "expected: int64 [4]"),
    ],
)
def test_a_dataset_that_is_not_what_it_says_is_refused(
    images: torch.Tensor, labels: torch.Tensor | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Dataset("mnist-5k", ImageShape(1, 28), 0, Split(images, labels))
    monkeypatch.setattr(datasets, "get", lambda _: lambda _: wrong)
    with pytest.raises(InputError) as error:
        open_dataset(narrow_config("gan").data)
    assert says in one_line(error)


@pytest.mark.parametrize(
    ("n", "codes", "says"),
    [(0, None, "at least 1"), (2.5, None, "at least 1"), (2, "c1=3", "by name"), (2, {"c1": "three"}, "numbers")],
)
def test_samples_are_asked_for_in_words_that_are_understood(n: int, codes: object, says: str) -> None:
    model = build_model(narrow_config("infogan"))
    with pytest.raises(InputError) as error:
        model.sample(n, codes)  # type: ignore[arg-type]
    assert says in one_line(error)
