"""Tables of Q(c | x): their content and formats."""

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from commandline import zoo
from hypothesis import given
from hypothesis import strategies as st
from measured import SIDE, striped, write_striped
from narrow import narrow_config, narrow_train, one_line
from PIL import Image

import gan_zoo
from gan_zoo.analysis.code_table import Columns, write_table
from gan_zoo.analysis.encode import Images, encode, encoder, open_images
from gan_zoo.config import Data
from gan_zoo.data.batches import normalise
from gan_zoo.data.dataset import LazyImages, Split
from gan_zoo.errors import InputError
from gan_zoo.models.gan.model import GAN
from gan_zoo.shapes import ImageShape
from gan_zoo.training.run import Run

CODES = "categorical:3, uniform:1, gaussian:1, bernoulli:1"
HEAD = ["c1", "c1/p0", "c1/p1", "c1/p2", "c2/mean", "c2/log_variance", "c3/mean", "c3/log_variance", "c4/p"]
SHAPE = ImageShape(1, SIDE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a labelled set with two splits, and a folder of larger coloured pictures in two classes."""
    place = tmp_path_factory.mktemp("place")
    data = write_striped(place / "set.npz")
    settings = {"data": str(data), "steps": 2, "trunk__name": "mlp", "trunk__discriminator_norm": "none"}
    narrow_train("infogan", place / "run", infogan__codes=CODES, infogan__variance="learned", **settings)
    narrow_train("acgan", place / "acgan", **settings)
    narrow_train("gan", place / "plain", **settings)
    random = np.random.default_rng(0)
    for name in ("cat/b.png", "cat/a.png", "dog/c.jpg", "dog/ü,\n.png"):
        (place / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(place / "pets" / name)
    return place


@pytest.fixture(scope="module")
def model(place: Path) -> GAN:
    return gan_zoo.load(place / "run")


def on(data: Data) -> Run:
    """A run on `data` without a fingerprint."""
    return Run(Path("nowhere"), narrow_config("infogan").model_copy(update={"data": data}))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_run_encodes_its_own_data(place: Path, model: GAN) -> None:
    ended = zoo("encode", place / "run")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"60 images (train split of {place / 'set.npz'}): {place / 'run' / 'codes.csv'}\n"
    table = rows(place / "run" / "codes.csv")
    assert list(table[0]) == ["image", "label", *HEAD]
    assert [row["image"] for row in table] == [str(k) for k in range(60)]
    images, labels = striped(60)
    assert [int(row["label"]) for row in table] == labels.tolist()
    found = encoder(model).encode(normalise(torch.from_numpy(images)))
    column = {name: torch.tensor([float(row[name]) for row in table]) for name in HEAD}
    for k in range(3):
        assert torch.allclose(column[f"c1/p{k}"], found["c1"][:, k], atol=1e-5)  # type: ignore[call-overload]
    assert torch.equal(column["c1"], found["c1"].argmax(1).float())  # type: ignore[union-attr]
    for name in ("c2", "c3"):
        mean, log_variance = found[name]
        assert torch.allclose(column[f"{name}/mean"], mean, atol=1e-5)
        assert torch.allclose(column[f"{name}/log_variance"], log_variance, atol=1e-5)
    assert torch.allclose(column["c4/p"], found["c4"], atol=1e-5)  # type: ignore[arg-type]


def test_a_split_and_a_place_are_named(place: Path, tmp_path: Path) -> None:
    ended = zoo("encode", place / "run", "--split", "test", "--out", tmp_path / "new" / "t.CSV", "--batch-size", "7")
    assert ended.code == 0, ended.err
    assert len(rows(tmp_path / "new" / "t.CSV")) == 30
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["t.CSV"]


def test_parquet_holds_the_same_numbers(place: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    for name in ("t.csv", "t.parquet"):
        assert zoo("encode", place / "run", place / "pets", "--out", tmp_path / name, "--batch-size", "3").code == 0
    table = parquet.read_table(tmp_path / "t.parquet").to_pydict()
    text = rows(tmp_path / "t.csv")
    assert list(table) == list(text[0])
    assert table["image"] == [row["image"] for row in text]
    for name in ("label", *HEAD):
        assert table[name] == pytest.approx([float(row[name]) for row in text], rel=1e-6)


def test_a_folder_is_told_by_its_paths_and_subfolders(place: Path, tmp_path: Path) -> None:
    assert zoo("encode", place / "run", place / "pets", "--out", tmp_path / "t.csv").code == 0
    table = rows(tmp_path / "t.csv")
    assert [row["image"] for row in table] == ["cat/a.png", "cat/b.png", "dog/c.jpg", repr("dog/ü,\n.png")]
    assert [row["label"] for row in table] == ["0", "0", "1", "1"]


def test_files_are_encoded_as_they_are_in_their_folder(place: Path, tmp_path: Path) -> None:
    names = [str(place / "pets" / name) for name in ("dog/c.jpg", "cat/a.png")]
    assert zoo("encode", place / "run", *names, "--out", tmp_path / "files.csv").code == 0
    assert zoo("encode", place / "run", place / "pets", "--out", tmp_path / "folder.csv").code == 0
    files, folder = rows(tmp_path / "files.csv"), {row["image"]: row for row in rows(tmp_path / "folder.csv")}
    assert [row["image"] for row in files] == names
    assert list(files[0]) == ["image", *HEAD]
    one, other = (np.array([float(row[name]) for name in HEAD]) for row in files)
    assert not np.allclose(one, other, atol=1e-3), "they could be told apart"
    for found, name in ((one, "dog/c.jpg"), (other, "cat/a.png")):
        assert np.allclose(found, [float(folder[name][column]) for column in HEAD], atol=1e-5)  # of another batch size


def test_acgans_label_does_not_hide_the_sets(place: Path, tmp_path: Path) -> None:
    assert zoo("encode", place / "acgan", "--out", tmp_path / "t.csv").code == 0
    table = rows(tmp_path / "t.csv")
    assert list(table[0]) == ["image", "data/label", "label", "label/p0", "label/p1", "label/p2"]
    assert [row["data/label"] for row in table[:4]] == ["0", "1", "2", "0"]


class Watched:
    """Lazy images, some of them broken, which count how many were read."""

    def __init__(self, n: int, broken: set[int] = frozenset()) -> None:
        self.asked, self.broken = 0, broken
        self.split = Split(LazyImages(self.read, SHAPE, torch.arange(n)))

    def read(self, indices: torch.Tensor) -> torch.Tensor:
        self.asked += len(indices)
        if broken := self.broken.intersection(indices.tolist()):
            raise InputError(f"images {broken}")
        return indices.to(torch.uint8)[:, None, None, None].expand(-1, 1, SIDE, SIDE)


def test_rows_are_written_as_images_come(model: GAN, tmp_path: Path) -> None:
    source = Watched(10)
    rounds = []

    def watched() -> Iterator[Columns]:
        for columns in encode(encoder(model), Images(source.split, "here"), batch_size=3, workers=0):
            rounds.append((source.asked, len(columns["image"])))
            yield columns

    assert write_table(watched(), tmp_path / "t.csv") == 10
    assert [size for _, size in rounds] == [3, 3, 3, 1]
    assert [asked for asked, _ in rounds] == [3, 6, 9, 10]
    assert [row["image"] for row in rows(tmp_path / "t.csv")] == [str(k) for k in range(10)]


def test_a_folder_is_not_held_in_memory(place: Path) -> None:
    run = on(Data(name=str(place / "set.npz")))
    assert not isinstance(open_images([str(place / "pets")], run, SHAPE).split.images, torch.Tensor)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_that_is_cut_off_leaves_nothing(model: GAN, tmp_path: Path, ending: str) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")

    def broken() -> Iterator[Columns]:
        yield from encode(encoder(model), Images(Watched(2).split, "here"), workers=0)
        assert any(tmp_path.iterdir())
        raise InputError("the third image cannot be read")

    (tmp_path / "kept").mkdir()
    target = tmp_path / f"t.{ending}"
    target.write_text("before")
    with pytest.raises(InputError, match="third"):
        write_table(broken(), target)
    assert target.read_text() == "before"
    assert {path.name for path in tmp_path.iterdir()} == {"kept", target.name}


def test_parquet_without_its_library_names_the_extra(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("gan_zoo.extras.find_spec", lambda name: None)
    ended = zoo("encode", place / "run", "--out", tmp_path / "t.parquet")
    assert ended.code == 2
    assert "gan-zoo[hub]" in ended.err
    assert zoo("encode", place / "run", "--out", tmp_path / "t.csv").code == 0


def test_a_model_without_codes_is_refused(place: Path) -> None:
    with pytest.raises(InputError) as error:
        encoder(gan_zoo.load(place / "plain"))
    assert "model gan has no codes" in one_line(error)


def test_another_set_keeps_all_its_images_though_the_run_s_was_thinned(place: Path) -> None:
    run = on(Data(name=str(place / "set.npz"), balance=(0.5, 0.5, 0.5)))
    found = open_images([str(place / "pets")], run, SHAPE)
    assert [found.name(k) for k in range(len(found.split))] == [
        "cat/a.png",
        "cat/b.png",
        "dog/c.jpg",
        "'dog/ü,\\n.png'",
    ]


def test_images_of_a_thinned_folder_keep_their_names(place: Path) -> None:
    run = on(Data(name=str(place / "pets"), resolution=SIDE, channels=1, balance=(0.5, 1.0)))
    found = open_images([], run, SHAPE)
    assert [found.name(k) for k in range(len(found.split))] in (
        ["cat/a.png", "dog/c.jpg", "'dog/ü,\\n.png'"], ["cat/b.png", "dog/c.jpg", "'dog/ü,\\n.png'"]
    )  # fmt: skip


def broken_pets(place: Path, tmp_path: Path) -> Path:
    """The pets with a broken one among them."""
    pets = tmp_path / "pets"
    shutil.copytree(place / "pets", pets)
    (pets / "cat" / "aa.png").write_bytes((pets / "cat" / "a.png").read_bytes()[:60])
    (pets / "dog" / "z.png").write_text("no image")
    return pets


@pytest.mark.parametrize("batch_size", [1, 2, 256])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_broken_images_are_left_out_and_named(place: Path, tmp_path: Path, batch_size: int, ending: str) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    pets = broken_pets(place, tmp_path)
    ended = zoo("encode", place / "run", pets, "--out", tmp_path / f"t.{ending}", "--batch-size", batch_size)
    assert ended.code == 0, ended.err
    assert ended.out.startswith("4 images (")
    shapes, left_out = ended.err.splitlines()
    assert shapes.startswith("4 of 4 images are not square: data.fit = crop cuts ")
    assert left_out.startswith("left out: 2 that cannot be read: ")
    assert "cat/aa.png (" in left_out and "dog/z.png (not an image that can be read)" in left_out
    assert "skip_broken" not in left_out
    assert zoo("encode", place / "run", place / "pets", "--out", tmp_path / "whole.csv").code == 0
    if ending == "csv":
        found, whole = rows(tmp_path / "t.csv"), rows(tmp_path / "whole.csv")
        assert [(row["image"], row["label"]) for row in found] == [(row["image"], row["label"]) for row in whole]
        for one, other in zip(found, whole, strict=True):
            assert float(one["c2/mean"]) == pytest.approx(float(other["c2/mean"]), abs=1e-5)


def test_a_set_of_broken_images_alone_is_an_error(place: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    (tmp_path / "b.png").write_text("no image")
    ended = zoo("encode", place / "run", tmp_path / "a.png", tmp_path / "b.png", "--out", tmp_path / "t.csv")
    assert ended.code == 2
    assert "files: no image can be read: " in ended.err
    assert not (tmp_path / "t.csv").exists()


@given(
    n=st.integers(1, 12), broken=st.sets(st.integers(0, 11)), size=st.integers(1, 5), workers=st.sampled_from([0, 0, 2])
)
def test_whatever_is_broken_the_others_are_encoded(
    model: GAN, n: int, broken: set[int], size: int, workers: int
) -> None:
    broken = {k for k in broken if k < n}
    images, lost = Images(Watched(n, broken).split, "here"), list[str]()
    batches = encode(encoder(model), images, batch_size=size, workers=workers, broken=lost)
    if len(broken) == n:
        with pytest.raises(InputError, match="no image can be read"):
            list(batches)
    else:
        found = [index for columns in batches for index in columns["image"].tolist()]
        assert found == [k for k in range(n) if k not in broken]
    assert len(lost) == len(broken)
