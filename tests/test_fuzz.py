"""Random trees, flags, codes and damaged files: each is accepted, or refused in one line, and soon.

`GAN_ZOO_SOAK` multiplies the number of examples; with it every run draws others. `-s` tells how many were tried.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import string
import struct
import tempfile
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime, time
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
import tomli_w
import torch
from commandline import TINY, Ended, write_set, zoo
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from soak import SOAK

import gan_zoo
from gan_zoo import registry
from gan_zoo.config import Data
from gan_zoo.data.batches import in_order
from gan_zoo.data.dataset import open_dataset
from gan_zoo.errors import InputError
from gan_zoo.models.gan.codes import entropy, parse_codes
from gan_zoo.resolve import config_type
from gan_zoo.trees import leaves

SECONDS = 20
"""Time limit of an example in seconds."""
TRIED: Counter[str] = Counter()


def some(examples: int) -> Callable[[Any], Any]:
    """So many examples of a test in the soak, each time others; else half as many, always the same ones."""
    return settings(
        max_examples=int(examples * SOAK) if SOAK > 1 else max(1, int(examples / 2)),
        derandomize=SOAK == 1,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=[*HealthCheck],
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )


class Hang(BaseException):
    """An example that does not end."""


@contextmanager
def soon() -> Iterator[None]:
    """A block that is interrupted when it takes too long."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module", autouse=True)
def _tell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_ZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    print("\ntried:", ", ".join(f"{count} {what}" for what, count in sorted(TRIED.items())))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sets and a run, which no example changes."""
    place = tmp_path_factory.mktemp("home")
    data = write_set(place / "set.npz")
    write_set(place / "colour.npz", resolution=32, channels=3, classes=3)
    gan_zoo.train("infogan", out=place / "run", quiet=True, data=data, steps=1, batch_size=4, width=2, device="cpu")
    return place


@contextmanager
def working(home: Path) -> Iterator[Path]:
    """A working folder of an example's own."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        for file in ("set.npz", "colour.npz"):
            os.link(home / file, Path(name, file))
        os.chdir(name)
        try:
            yield Path(name)
        finally:
            os.chdir(before)


def held(place: Path) -> dict[str, int]:
    """The files of a folder, by name and size."""
    return {str(path): path.stat().st_size if path.is_file() else -1 for path in place.rglob("*")}


def drive(kind: str, *args: object, place: Path) -> Ended:
    """A command: done, refused in one line with nothing changed, or a training that failed in one line."""
    before = held(place)
    with soon(), warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        ended = zoo(*args)
    TRIED[kind] += 1
    event(f"{kind}: exit code {ended.code}")
    assert ended.code in (0, 1, 2), ended
    assert "Traceback" not in ended.err and "Warning" not in ended.err, ended
    if ended.code == 0:
        return ended
    lines = ended.err.strip().splitlines()
    assert lines, ended
    errors = [line for line in lines if line.startswith("gan-zoo: ")]
    assert errors and lines[-1] == errors[-1], ended
    assert len(errors[-1]) < 2000 + sum(len(str(arg)) for arg in args), ended
    assert all(line.isprintable() for line in lines), ended
    if ended.code == 2:
        assert held(place) == before, (ended, held(place).keys() ^ before.keys())
        assert "None Type" not in ended.err
    return ended


# Trees


NUMBERS = st.one_of(
    st.integers(-3, 40),
    st.sampled_from([2**31, 2**32, 2**53, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30, -(10**30), 10**4000]),
    st.floats(-2, 2),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), -0.0, 1e308, 5e-324, 1e-9, 0.5, 1.0]),
)
TEXT = st.one_of(
    st.text(max_size=12),
    st.text(st.characters(min_codepoint=0x80, blacklist_categories=["Cs"]), max_size=6),
    st.sampled_from(["", " ", "auto", "none", "true", "1", "\x1b[31m", "a\nb", "\0", "../..", "~", "~nobody/x",
    "/", ".", "x" * 300]),
    st.sampled_from([*registry.models.entries, *registry.trunks.entries, *registry.losses.entries]),
)  # fmt: skip
ANY = st.recursive(
    st.one_of(NUMBERS, TEXT, st.booleans(), st.sampled_from([date(2000, 2, 29), time(1, 2), datetime(2000, 1, 1)])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=4,
)  # fmt: skip

NAMES = ["categorical", "uniform", "gaussian", "bernoulli", "Categorical", "categoric", ""]
COUNTS = ["0", "1", "2", "3", "10", "4096", "4097", "65536", "999999999", "9999999999", "-1", "1.5", "x", "", "٣"]
CODE = st.builds(
    "{}{}:{}{}".format,
    st.sampled_from(NAMES),
    st.sampled_from(["", "", "", "(0.3)", "(1)", "(0)", "(nan)", "(1e-400)", "(1e-9)", "(.)", "()", "(-1)"]),
    st.sampled_from(COUNTS),
    st.sampled_from(["", "", "", "x2", "x0", "x4096", "xx", "x"]),
)
CODES = st.one_of(st.lists(CODE, max_size=4).map(", ".join), st.text(string.printable, max_size=20), TEXT)
FEW_CODES = st.lists(
    st.sampled_from(["categorical:3", "categorical:10", "categorical:2x3", "uniform:2", "gaussian:1",
    "bernoulli(0.3):2"]),
    min_size=1,
    max_size=3,
).map(",".join)  # fmt: skip
AUGMENT = st.lists(
    st.builds(
        "{}{}".format,
        st.sampled_from(["flip", "shift", "rotate", "cutout", "elastic", "flop", ""]),
        st.sampled_from(["", ":0.1", ":0", ":nan", ":1e9", ":x", ":", ":-1"]),
    ),
    max_size=3,
).map(",".join)


def mostly(good: list[Any], odd: list[Any]) -> st.SearchStrategy[Any]:
    """One of the good values, or sometimes of the odd ones."""
    return st.integers(0, 7).flatmap(lambda k: st.sampled_from(good if k else odd))


# Values that may be accepted. Expensive ones are small here, as there are thousands of examples.
PLAUSIBLE: dict[str, st.SearchStrategy[Any]] = {
    "seed": st.sampled_from([0, 1, 2**63 - 1]),
    "data.name": mostly(["set.npz"], ["colour.npz", "mnist-5k", "sprites", "folder", "hub", "nowhere", "."]),
    "data.path": st.sampled_from(["set.npz", ".", "nowhere", "", "/dev/zero", "/dev/null", "~nobody/x", "a\0b"]),
    "data.resolution": mostly([28, 32], [4, 7, 33, 64]),
    "data.channels": st.sampled_from([1, 3]),
    "data.classes": mostly([10, 0, 11], [3, 2**40]),
    "data.balance": mostly([[0.5] * 10, []], [[1.0] * 11, [0.0], [2.0] * 10, [1e-9] * 10]),
    "data.augment": AUGMENT,
    "data.warp": AUGMENT,
    "data.memory": st.sampled_from([2.0, 0.0, 1e-9, 1e300]),
    "data.workers": st.sampled_from([0, 1]),
    "latent.noise": mostly([8, 62, 1], [0]),
    "trunk.width": mostly([1, 2, 3], [10**12, 2**63 - 1]),
    "training.batch_size": mostly([4, 6, 2], [1]),
    "training.accumulate": mostly([1, 2], [3, 4]),
    "training.steps": st.sampled_from([1, 2, 3]),
    "training.compile": st.just(False),
    "training.device": mostly(["cpu", "auto"], ["cuda", "cuda:99", "mps", "meta", "xpu", "tpu", "cpu:7", "cpu:x"]),
    "infogan.codes": st.one_of(FEW_CODES, FEW_CODES, CODES),
    "infogan_cr.codes": FEW_CODES,
    "infogan.head_width": mostly([1, 8], [10**12]),
    "infogan_cr.head_width": mostly([1, 8], [10**12]),
    "logging.keep": st.sampled_from([1, 2**40]),
}  # fmt: skip
SMALL = {
    "latent.noise", "trunk.width", "data.workers", "data.resolution", "training.compile", "infogan.head_width",
    "infogan_cr.head_width", "training.batch_size",
}  # fmt: skip
"""Keys whose accepted values may be large: another number of theirs would be a machine's worth of memory or time."""


def field(key: str, model: str) -> Any:
    """What a key of a model's tree accepts."""
    kind: Any = config_type(model)
    for part in key.split("."):
        found = kind.model_fields[part]
        kind = found.annotation
    return kind


def plausible(key: str, model: str) -> st.SearchStrategy[Any]:
    """A value of the right type for a key."""
    if key in PLAUSIBLE:
        return PLAUSIBLE[key]
    if key == "trunk.name":
        return st.sampled_from([*registry.trunks.entries])
    if key == "loss.adversarial":
        return st.sampled_from([*registry.losses.entries])
    kind = field(key, model)
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if kind is bool:
        return st.booleans()
    return st.integers(1, 3) if kind is int else st.floats(0, 1).map(lambda x: round(x, 2) if x > 0.01 else x)


@st.composite
def misspelt(draw: st.DrawFn, key: str) -> str:
    """A key with one letter dropped, doubled or changed."""
    place = draw(st.integers(0, max(0, len(key) - 1)))
    return key[:place] + draw(st.sampled_from(["", "_", "x", key[place] * 2, ".", "é", " "])) + key[place + 1 :]


@st.composite
def trees(draw: st.DrawFn, *, wrong: bool = True) -> dict[str, Any]:
    """A tree for one of the models, most of it right."""
    model = draw(st.sampled_from([*registry.models.entries]))
    tree: dict[str, Any] = {"model": model} if draw(st.integers(0, 9)) else {}
    if draw(st.integers(0, 9)):
        tree |= {"data": {"name": "set.npz", "workers": 0}, "trunk": {"width": 2}}
    for key in draw(st.lists(st.sampled_from([*leaves(config_type(model))]), max_size=6, unique=True)):
        if key == "model":
            continue
        kind = draw(st.integers(0, 9)) if wrong else 9
        value = (
            draw(ANY.filter(lambda v: not isinstance(v, int)) if key in SMALL else ANY)
            if kind == 0
            else draw(plausible(key, model))
        )
        name = draw(misspelt(key)) if kind == 1 else key
        _put(tree, name.split("."), value)
    if wrong and not draw(st.integers(0, 4)):
        foreign = draw(
            st.sampled_from(["infogan", "infogan_cr", "infogan-cr", "acgan", "dcgan", "preset", "data", "", "training"])
        )
        tree[foreign] = draw(ANY)
    return tree


def _put(tree: dict[str, Any], keys: list[str], value: Any) -> None:
    *tables, last = keys
    for key in tables:
        tree = tree.setdefault(key, {}) if isinstance(tree.setdefault(key, {}), dict) else {}
    tree[last] = value


def as_toml(tree: dict[str, Any]) -> str:
    """The tree as TOML; an integer is written whatever its length."""
    return tomli_w.dumps(tree)


@some(35)
@given(tree=trees(), model=st.sampled_from([None, None, *registry.models.entries]), base=st.booleans())
def test_trees(home: Path, tree: dict[str, Any], model: str | None, base: bool) -> None:
    with working(home) as place:
        Path("a.toml").write_text(('preset = "mnist-5k"\n' if base else "") + as_toml(tree), encoding="utf-8")
        args = ("train", *([model] if model else []), "--config", "a.toml")
        if drive("trees", *args, "--dry-run", place=place).code == 0:
            assert held(place).keys() == {str(place / name) for name in ("a.toml", "set.npz", "colour.npz")}


@some(7)
@given(tree=trees(wrong=False))
def test_trainings(home: Path, tree: dict[str, Any]) -> None:
    with working(home) as place:
        tree.setdefault("data", {"name": "set.npz"}).setdefault("workers", 0)
        Path("a.toml").write_text(as_toml(tree), encoding="utf-8")
        ended = drive("trainings", "train", "--config", "a.toml", *TINY, "--out", "run", place=place)
        if ended.code == 0:
            assert [*Path("run/checkpoints").iterdir()]
            assert {"config.toml", "metrics.jsonl", "environment.json", "samples"} <= {
                p.name for p in Path("run").iterdir()
            }
            assert drive("trainings", "sample", "run", place=place).code == 0
            assert drive("trainings", "train", "--resume", "--out", "run", place=place).code in (0, 2)
        elif ended.code == 1:  # told in one line; what is there is a run
            assert Path("run/config.toml").is_file()


# Flags


@st.composite
def flags(draw: st.DrawFn) -> list[str]:
    """Words of a command line, most of them right."""
    model = draw(st.sampled_from([*registry.models.entries, "infogen", ""]))
    words = [model]
    known = [*leaves(config_type(model))] if model in registry.models.entries else ["training.steps"]
    for key in draw(st.lists(st.sampled_from(known), max_size=4)):
        kind = draw(st.integers(0, 9))
        value = draw(
            st.one_of(NUMBERS.filter(lambda v: abs(v) < 10**31), TEXT)
            if kind == 0 and key not in SMALL
            else plausible(key, model)
        )
        words += [f"--{draw(misspelt(key)) if kind == 1 else key.replace('_', '-')}"]
        words += [str(part) for part in value] if isinstance(value, list) else [str(value)]
    extra = st.sampled_from(
        [
            "--resume",
            "--dry-run",
            "--out",
            "run",
            "--config",
            "mnist-5k",
            "mnist-32",
            "--",
            "-x",
            "--help",
            "é",
            "--out=",
            "set.npz",
            "--config=",
        ]
    )
    return words + draw(st.lists(extra, max_size=3))  # fmt: skip


@some(30)
@given(words=flags())
def test_flags(home: Path, words: list[str]) -> None:
    with working(home) as place:
        drive("flags", "train", *words, "--dry-run", place=place)


OTHER = ("sample", "traverse", "encode", "evaluate", "cluster", "centrality", "bench", "configs", "models", "nonsense")
OTHER_WORDS = st.one_of(
    st.sampled_from(["--n", "--codes", "--seed", "--out", "--device", "--rows", "--values", "--code", "--by",
    "--k", "--split"]),
    st.sampled_from(["--metrics", "--features", "--batch-size", "--json", "c1", "c2", "c1=3", "test", "train",
    "cpu", "0", "-1", "3"]),
    st.sampled_from(["a.png", "a.gif", "a.csv", "a.json", "set.npz", "clustering", "information", "1e9", "nan",
    "--pool", "max", str(2**63)]),
    TEXT.filter(lambda text: "\0" not in text),
)  # fmt: skip


@some(25)
@given(command=st.sampled_from(OTHER), words=st.lists(OTHER_WORDS, max_size=5))
def test_flags_of_other_commands(home: Path, command: str, words: list[str]) -> None:
    with working(home) as place:
        shutil.copytree(home / "run", "run")
        if command == "bench":
            words = ["compare", *words]
        if command == "evaluate":  # other metrics train a classifier first
            words = ["--metrics", "information", *(word for word in words if word != "--metrics")]
        drive(
            "other flags", command, *([] if command in ("bench", "models", "configs") else ["run"]), *words, place=place
        )


# Codes


@some(400)
@given(text=CODES)
def test_codes(text: str) -> None:
    TRIED["codes"] += 1
    told = ""
    try:
        with soon():
            codes = parse_codes(text)
    except InputError as error:
        told = str(error)
    if told:
        assert "\n" not in told and len(told) < 500
    else:
        assert 1 <= len(codes) <= 4096
        assert np.isfinite(entropy(codes))
        assert len({code.name for code in codes}) == len(codes)


VALUES = st.builds(
    "{}{}{}".format,
    st.sampled_from(["c1", "c2", "c3", "c9", "", "é"]),
    st.sampled_from(["=", "", "=="]),
    st.one_of(NUMBERS, TEXT),
)


@some(25)
@given(values=st.lists(VALUES, max_size=3).map(",".join))
def test_codes_to_hold(home: Path, values: str) -> None:
    with working(home) as place:
        ended = drive(
            "codes to hold",
            "sample",
            home / "run",
            "-n",
            "2",
            f"--codes={values}",
            "--out",
            place / "a.png",
            place=place,
        )
        assert (place / "a.png").is_file() == (ended.code == 0)


# Damaged files


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _encoded(mode: str, ending: str) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(PIXELS[0]).convert(mode)
    facts: dict[str, Any] = {"exif": image.getexif()} if ending in ("png", "jpeg") else {}
    image.save(file, ending, **facts)
    return file.getvalue()


def _safetensors() -> bytes:
    with tempfile.TemporaryDirectory() as name:
        save_file({"images": torch.from_numpy(PIXELS[..., 0].copy()), "labels": torch.arange(4)}, Path(name, "a"))
        return Path(name, "a").read_bytes()


PIXELS = np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3), dtype=np.uint8)
IDX = struct.pack(">I3I", 0x803, 4, 12, 12) + PIXELS[..., 0].tobytes()
ARRAYS = {
    "uint8": _npy(PIXELS),
    "float": _npy((PIXELS / 255).astype(np.float32)),
    "double": _npy(PIXELS[..., 0] / 127.5 - 1),
    "bool": _npy(PIXELS[..., 0] > 99),
    "fortran": _npy(np.asfortranarray(PIXELS)),
}
PICTURES = {
    f"{mode}.{ending}": _encoded(mode, ending)
    for mode, ending in [
        ("RGB", "png"), ("L", "png"), ("P", "png"), ("RGBA", "png"), ("RGB", "jpeg"), ("L", "jpeg"), ("RGB",
        "gif"), ("RGB", "tiff"),
        ("F", "tiff"), ("RGB", "bmp"), ("RGBA", "ico"), ("RGB", "tga"), ("RGB", "webp"), ("RGB", "ppm"), ("L",
        "pcx"), ("RGB", "sgi"),
    ]
}  # fmt: skip
EXTREMES = [
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff",
    b"\x7f\xff",
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0" * 4,
    b"\xff" * 8,
    b"\0" * 8,
    b"[" * 40,
    b"(" * 40,
    b"9" * 20,
    b"-",
    b"e999",
    b"nan",
    b"\r\n",
    b"\xc3\x28",
]


@st.composite
def damaged(draw: st.DrawFn, whole: bytes, other: bytes = b"") -> bytes:
    """A file with a few bytes flipped, overwritten, dropped, put in, doubled, cut off, or taken from another."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        size = len(content)
        place = draw(
            st.one_of(st.integers(0, min(200, size)), st.integers(0, size), st.integers(max(0, size - 60), size))
        )
        match draw(st.sampled_from(["flip", "flip", "write", "write", "drop", "insert", "double", "cut", "splice"])):
            case "flip" if place < size:
                content[place] ^= 1 << draw(st.integers(0, 7))
            case "write":
                extreme = draw(st.sampled_from(EXTREMES))
                content[place : place + len(extreme)] = extreme
            case "drop":
                del content[place : place + draw(st.integers(1, 40))]
            case "insert":
                content[place:place] = draw(st.one_of(st.sampled_from(EXTREMES), st.binary(min_size=1, max_size=12)))
            case "double":
                content[place:place] = content[place : place + draw(st.integers(1, 200))]
            case "cut":
                del content[place:]
            case "splice" if other:
                content[place:] = other[place:]
    return bytes(content)


def read(kind: str, settings: Data) -> None:
    """Open a set and go through it: it is read, or refused in one line."""
    TRIED[kind] += 1
    told = "read"
    try:
        with soon(), warnings.catch_warnings():
            warnings.simplefilter("error")
            found = open_dataset(settings)
            for split in filter(None, (found.train, found.test)):
                for batch in islice(in_order(split, batch_size=3, device="cpu", workers=0), 3):
                    assert batch.images.isfinite().all() and batch.images.abs().max() <= 1
                    assert batch.images.shape[1:] == (
                        found.image.channels,
                        found.image.resolution,
                        found.image.resolution,
                    )
    except InputError as error:
        told = str(error)
    event(f"{kind}: {'read' if told == 'read' else 'refused'}")
    assert "\n" not in told and 0 < len(told) < 1500


ROOM = st.sampled_from([{}, {"memory": 0.0}, {"resolution": 8, "channels": 1}])


@some(120)
@given(data=st.data(), name=st.sampled_from([*ARRAYS]), packed=st.sampled_from(["npy", "npz", "raw npz"]), room=ROOM)
def test_damaged_arrays(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str, packed: str, room: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, f"a.{packed[-3:]}")
        if packed == "npy":
            path.write_bytes(data.draw(damaged(ARRAYS[name], ARRAYS["bool"])))
        else:
            np.savez(path, images=PIXELS, labels=np.arange(4))
            if packed == "npz":
                _zip(
                    path,
                    {
                        "images.npy": data.draw(damaged(ARRAYS[name])),
                        "labels.npy": data.draw(st.one_of(st.just(_npy(np.arange(4))), damaged(_npy(np.arange(4))))),
                    },
                )
            else:
                path.write_bytes(data.draw(damaged(path.read_bytes())))
        read("arrays", Data(name=str(path), workers=0, **room))


def _zip(path: Path, members: dict[str, bytes]) -> None:
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@some(80)
@given(content=damaged(_safetensors(), ARRAYS["uint8"]), room=ROOM)
def test_damaged_safetensors(content: bytes, room: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place, "a.safetensors").write_bytes(content)
        read("safetensors", Data(name=f"{place}/a.safetensors", workers=0, **room))


@some(60)
@given(images=damaged(IDX), packed=st.booleans(), raw=st.booleans())
def test_damaged_idx(images: bytes, packed: bool, raw: bool) -> None:
    labels = struct.pack(">II", 0x801, 4) + bytes(4)
    with tempfile.TemporaryDirectory() as place:
        for stem in ("train", "t10k"):
            content = gzip.compress(images, mtime=0) if packed else images
            Path(place, f"{stem}-images-idx3-ubyte").write_bytes(content[: len(content) - 5 * (packed and raw)])
            Path(place, f"{stem}-labels-idx1-ubyte").write_bytes(labels)
        read("idx", Data(name="mnist", path=place, workers=0))


TABLE = np.array([[0, 0, 0, 0, 0, k] for k in range(4)])


@some(60)
@given(data=st.data())
def test_damaged_dsprites(data: st.DataObject) -> None:
    images = _npy((PIXELS[..., 0] > 99).astype(np.uint8))
    both = {"imgs.npy": images, "latents_classes.npy": _npy(TABLE)}
    broken = data.draw(st.sampled_from([*both]))
    with tempfile.TemporaryDirectory() as place:
        _zip(Path(place, "d.npz"), both | {broken: data.draw(damaged(both[broken], both["imgs.npy"]))})
        read("dsprites", Data(name="dsprites", path=f"{place}/d.npz", workers=0))


def mended(content: bytes) -> bytes:
    """A PNG whose chunks have the checksums that their bytes ask for, so that more than the checksum is tried."""
    parts, place = [content[:8]], 8
    while place + 12 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        body = content[place + 4 : place + 8 + length]
        parts += [content[place : place + 4], body, struct.pack(">I", zlib.crc32(body))]
        place += 12 + length
    return b"".join(parts)


@some(200)
@given(data=st.data(), name=st.sampled_from([*PICTURES]), mend=st.booleans(), room=ROOM)
def test_damaged_images(data: st.DataObject, name: str, mend: bool, room: dict[str, Any]) -> None:
    content = data.draw(damaged(PICTURES[name], PICTURES["RGB.jpeg"]))
    with tempfile.TemporaryDirectory() as place:
        Path(place, name).write_bytes(mended(content) if mend and name.endswith("png") else content)
        Path(place, "good.png").write_bytes(PICTURES["RGB.png"])
        read("images", Data(name=place, workers=0, **room))


FOLDERS = ["cat", "dog", "photos", "train", "val", "test", "Training", "test_tube", "train-2017", ".hidden", "a\nb"]
NAMES = ["1.png", "2.PNG", "train_1.png", "test.png", "dataset-.png", "note.txt", "config.toml", "metadata.csv"]
ABOVE = st.lists(st.sampled_from(FOLDERS), max_size=3)
PLACES = st.builds(lambda above, name: "/".join([*above, name]), ABOVE, st.sampled_from(NAMES))
LINKS = st.tuples(PLACES, st.one_of(st.just("."), st.just(".."), PLACES))


@some(150)
@given(
    places=st.lists(PLACES, min_size=1, max_size=8, unique=True),
    links=st.lists(LINKS, max_size=3),
    broken=st.sets(st.integers(0, 7), max_size=2),
    told=st.fixed_dictionaries({flag: st.booleans() for flag in ("splits", "follow_links", "skip_broken")}),
    room=ROOM,
)
def test_layouts(
    places: list[str], links: list[tuple[str, str]], broken: set[int], told: dict[str, bool], room: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place, "set")
        for number, name in enumerate(places):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"no image" if number in broken else PICTURES["L.png"])
        for name, leads in links:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                (root / name).symlink_to(root / leads)
        read("layouts", Data(name=str(root), workers=0, **told, **room))


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bytes]:
    """A parquet file of images, and the library that reads it kept off the network."""
    module = pytest.importorskip("datasets", reason="the extra `hub` is not installed")
    place = tmp_path_factory.mktemp("parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.config, "HF_DATASETS_CACHE", place / "cache")
        patch.setattr(module.config, "HF_HUB_OFFLINE", True)
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        module.disable_progress_bars()
        module.logging.set_verbosity(module.logging.CRITICAL)
        features = module.Features({"image": module.Image(), "label": module.ClassLabel(names=["a", "b"])})
        columns = {"image": [Image.fromarray(pixels) for pixels in PIXELS], "label": [0, 1, 0, 1]}
        module.Dataset.from_dict(columns, features=features).to_parquet(place / "a.parquet")
        yield (place / "a.parquet").read_bytes()


@some(15)
@given(data=st.data())
def test_damaged_parquet(parquet: bytes, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place, "a.parquet").write_bytes(data.draw(damaged(parquet)))
        read("parquet", Data(name="hub", path=f"{place}/a.parquet", workers=0))


# Damaged runs


def seal(checkpoint: Path) -> None:
    """Write down the checksums that the files have now."""
    files = sorted(path for path in checkpoint.iterdir() if path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (checkpoint / "SHA256SUMS").write_text("".join(lines))


FACTS = ["state.json", "SHA256SUMS"]
WEIGHTS = ["model.safetensors", "ema.safetensors", "optimizer.safetensors"]


@some(25)
@given(
    data=st.data(),
    name=st.sampled_from(
        ["config.toml", "config.toml", "metrics.jsonl", "environment.json", "data.json", *FACTS, *WEIGHTS]
    ),
    sealed=st.booleans(),
)
def test_damaged_runs(home: Path, data: st.DataObject, name: str, sealed: bool) -> None:
    with working(home) as place:
        shutil.copytree(home / "run", "run")
        (checkpoint,) = Path("run/checkpoints").iterdir()
        file = checkpoint / name if name in FACTS + WEIGHTS else Path("run", name)
        file.write_bytes(data.draw(damaged(file.read_bytes())))
        if sealed and name != "SHA256SUMS":
            seal(checkpoint)
        drive(f"damaged {name}", "sample", "run", "-n", "2", "--out", "a.png", place=place)
        if name == "config.toml" and data.draw(st.integers(0, 3)):
            return
        small = ("--data", "set.npz", *TINY, "--data.workers", "0")
        drive(f"damaged {name}", "train", "--resume", "--out", "run", *small, place=place)


def pets() -> dict[str, dict[str, bytes]]:
    """What lies in the folder `pets`: by class, each file's bytes."""
    classes = (folder for folder in sorted(Path("pets").iterdir()) if any(folder.iterdir()))
    return {folder.name: {file.name: file.read_bytes() for file in sorted(folder.iterdir())} for folder in classes}


def change(kind: str, data: st.DataObject) -> None:
    """Change something in the folder `pets`, though perhaps not what it holds."""
    folders = sorted(Path("pets").iterdir())
    folder = data.draw(st.sampled_from(folders))
    files = sorted(folder.iterdir())
    file = data.draw(st.sampled_from(files)) if files else None
    if kind == "rename class":
        name = folder.with_name(data.draw(st.sampled_from(["ape", "zebra", "caf\udce9"])))
        if not name.exists():
            folder.rename(name)
    elif kind == "swap classes" and len(folders) > 1:
        for old, new in ((folders[0], Path("aside")), (folders[1], folders[0]), (Path("aside"), folders[1])):
            old.rename(new)
    elif kind == "touch" and file:
        file.write_bytes(file.read_bytes())
    elif kind == "remove" and file:
        file.unlink()
    elif kind == "rename" and file:
        file.rename(file.with_name(f"z{file.name}"))
    elif kind == "repaint" and file:
        Image.new("L", (8, 8), data.draw(st.integers(0, 255))).save(file)
    elif kind == "add":
        Image.new("L", (8, 8), 7).save(folder / "added.bmp")


@some(12)
@given(
    kinds=st.lists(
        st.sampled_from(["rename class", "swap classes", "touch", "remove", "rename", "repaint", "add"]), max_size=3
    ),
    moved=st.booleans(),
    data=st.data(),
)
def test_changed_data(home: Path, kinds: list[str], moved: bool, data: st.DataObject) -> None:
    """A run resumes on its data at any location, and on other data only with the flag."""
    with working(home) as place:
        for number in range(6):
            folder = Path("pets", ("cat", "dog")[number % 2])
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 40 * number).save(folder / f"{number}.bmp")
        small = (*TINY, "--trunk.name", "mlp", "--data.workers", "0", "--data.classes", "0", "--data.resolution", "8")
        begun = ("train", "gan", "--data", "pets", *small, "--data.channels", "1", "--steps", "1", "--out", "run")
        assert drive("data", *begun, place=place).code == 0
        before = pets()
        for kind in kinds:
            change(kind, data)
        now = pets()
        if moved:
            shutil.copytree("pets", "elsewhere")
            shutil.rmtree("pets")
        named = ("--data", "elsewhere") if moved else ()
        on = ("train", "--resume", "--out", "run", "--steps", "2", *named)
        tree = Path("run/config.toml").read_bytes()
        ended = drive("changed data", *on, place=place)
        assert (ended.code == 0) is (now == before), (kinds, ended)
        if ended.code:
            assert Path("run/config.toml").read_bytes() == tree
            if now:
                assert "--new-data" in ended.err
                assert drive("new data", *on, "--new-data", place=place).code == 0


@some(12)
@given(state=st.dictionaries(st.sampled_from(["schema", "model", "step", "scaler", "skipped", "data", "x"]), ANY))
def test_other_states(home: Path, state: dict[str, Any]) -> None:
    with working(home) as place:
        shutil.copytree(home / "run", "run")
        (checkpoint,) = Path("run/checkpoints").iterdir()
        old = json.loads((checkpoint / "state.json").read_text())
        (checkpoint / "state.json").write_text(json.dumps(old | state, default=str))
        seal(checkpoint)
        small = ("--data", "set.npz", *TINY, "--data.workers", "0")
        drive("states", "train", "--resume", "--out", "run", *small, place=place)


@some(30)
@given(lines=st.lists(st.one_of(ANY, st.fixed_dictionaries({"step": NUMBERS, "x": ANY})), max_size=4))
def test_other_logs(home: Path, lines: list[Any]) -> None:
    with working(home) as place:
        shutil.copytree(home / "run", place / "run")
        Path("run/metrics.jsonl").write_text(
            "".join(f"{json.dumps(line, default=str)}\n" for line in lines if not _long(line))
        )
        with soon():
            gan_zoo.load("run")
            from gan_zoo.training.run import open_run

            open_run("run").metrics()
        TRIED["logs"] += 1


def _long(value: Any) -> bool:
    try:
        json.dumps(value, default=str)
    except ValueError:
        return True
    return False
