"""Untrusted files: never executed; refused in one line, quickly, in little memory."""

from __future__ import annotations

import ast
import gzip
import hashlib
import io
import json
import os
import pickle
import shutil
import signal
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from commandline import TINY, write_set, zoo, zoo_process
from PIL import Image
from safetensors.torch import load_file, save_file

import gan_zoo
from gan_zoo.config import Data
from gan_zoo.data import bounds
from gan_zoo.data.dataset import open_dataset
from gan_zoo.errors import InputError, quoted

ROOT = Path(__file__).parents[1]
SECONDS = 5
MEBIBYTES = 250
MINE, THEIRS = "planted", "sitecustomize.py"


# Functions that read a pickle or execute text.

FORBIDDEN = {
    "pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "pandas.read_pickle",
    "torch.load",
    "numpy.loads", "eval", "exec", "compile", "__import__", "yaml.load", "yaml.unsafe_load", "yaml.full_load",
    "os.system",
    "os.popen", "runpy",
}  # fmt: skip
OBJECTS = {
    "broadcast_object_list", "all_gather_object", "gather_object", "scatter_object_list", "send_object_list",
    "recv_object_list",
}  # fmt: skip


def readers(source: str) -> list[str]:
    """What in a source could read a pickle or run a text, as `line: name`."""
    tree = ast.parse(source)
    names = dict[str, str]()  # what a name in this file stands for
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
                found += [(node.lineno, alias.name)] if alias.name.partition(".")[0] in FORBIDDEN else []
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                names[alias.asname or alias.name] = whole
                if {whole, (node.module or "").partition(".")[0]} & FORBIDDEN or alias.name in OBJECTS:
                    found.append((node.lineno, whole))
    for node in ast.walk(tree):
        name = _dotted(node, names)
        if (
            isinstance(node, ast.Name | ast.Attribute)
            and isinstance(node.ctx, ast.Load)
            and (name in FORBIDDEN or name.rpartition(".")[2] in OBJECTS)
        ):
            found.append((node.lineno, name))
        if isinstance(node, ast.Call):
            called = _dotted(node.func, names)
            if called in ("numpy.load", "numpy.lib.format.read_array", "numpy.lib.format.open_memmap"):
                said = {word.arg: word.value for word in node.keywords}.get("allow_pickle")
                if not (isinstance(said, ast.Constant) and said.value is False):
                    found.append((node.lineno, called))
            if any(word.arg == "weights_only" for word in node.keywords):
                found.append((node.lineno, called))
    return [f"{line}: {name}" for line, name in sorted(set(found))]


def _dotted(node: ast.AST, names: dict[str, str]) -> str:
    """The full name of an expression `a.b.c`, or nothing."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value, names)):
        return f"{before}.{node.attr}"
    return ""


@pytest.mark.parametrize("folder", ["gan_zoo", "kernels", "benchmarks"])
def test_no_source_reads_a_pickle_or_runs_a_text(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert len(files) > 5
    found = {str(path.relative_to(ROOT)): readers(path.read_text()) for path in files}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "import pickle as p", "from pickle import loads", "import cPickle", "import _pickle",
        "import dill",
        "import cloudpickle", "import marshal", "import shelve", "import joblib", "from joblib import load",
        "import torch\ntorch.load('a')", "import torch as t\nt.load('a', weights_only=True)", "from torch import load",
        "import torch\nread = torch.load", "import numpy as np\nnp.load('a')",
        "import numpy\nnumpy.load('a', allow_pickle=True)",
        "import numpy as np\nnp.load('a', allow_pickle=no)", "from numpy import load\nload('a')",
        "import numpy as np\nnp.lib.format.read_array(f)", "import pandas as pd\npd.read_pickle('a')",
        "eval('1')", "exec('1')", "compile('1', '', 'eval')", "run = eval", "__import__('os')",
        "import os\nos.system('ls')",
        "import yaml\nyaml.load('a')", "import yaml\nyaml.unsafe_load('a')", "import runpy",
        "import torch.distributed as dist\ndist.broadcast_object_list([])",
        "from torch import distributed\ndistributed.all_gather_object([], 1)",
        "from torch.distributed import gather_object", "import torch\ntorch.distributed.scatter_object_list([], [])",
    ],
)  # fmt: skip
def test_the_walk_finds_each_of_them(source: str) -> None:
    assert readers(source)


@pytest.mark.parametrize(
    "source",
    [
        "model.eval()", "torch.compile(model)", "re.compile('a')",
        "import numpy as np\nnp.load('a', allow_pickle=False)",
        "import json\njson.load(f)", "import yaml\nyaml.safe_load('a')", "network.compile()", "# pickle\n'eval(1)'",
    ],
)  # fmt: skip
def test_the_walk_finds_nothing_else(source: str) -> None:
    assert readers(source) == []


# Hostile files, through the command line.


class Planted:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)


class TooLong(BaseException):
    """A refusal took too long."""


def _peak() -> int:
    """The most memory that this process has held since `clear_refs` was written, in bytes."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


@contextmanager
def modest(mebibytes: int = MEBIBYTES, seconds: int = SECONDS) -> Iterator[None]:
    """A block that ends soon and takes little additional memory."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLong

    linux = Path("/proc/self/clear_refs").exists()
    if linux:
        Path("/proc/self/clear_refs").write_text("5")
    before = _peak() if linux else 0
    handler = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20 * seconds)  # for a hang; slowness is measured in CPU time
    clock = time.process_time()
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
    assert time.process_time() - clock < seconds
    assert not linux or _peak() - before < mebibytes * 2**20


def refused(*args: object, **limits: int) -> str:
    """The one line that `gan-zoo` with these arguments ends in, having left nothing."""
    before = sorted(Path().rglob("*"))
    with modest(**limits):
        ended = zoo(*args)
    assert (ended.code, ended.out) == (2, ""), ended
    assert ended.err.startswith("gan-zoo: ") and ended.err.count("\n") == 1, ended.err
    assert ended.err.rstrip("\n").isprintable()
    assert len(ended.err) < 1000
    assert sorted(Path().rglob("*")) == before
    assert not Path(MINE).exists()
    return ended.err


def unread(name: object, path: object = None, **settings: Any) -> str:
    """The same of a set that is opened, which is what every command does with one."""
    before = sorted(Path().rglob("*"))
    with modest(), pytest.raises(InputError) as caught:
        open_dataset(Data(name=str(name), path=None if path is None else str(path), workers=0, **settings))
    line = str(caught.value)
    assert "\n" not in line and line.isprintable() and len(line) < 1000
    assert sorted(Path().rglob("*")) == before
    assert not Path(MINE).exists()
    return line


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("trained")
    data = write_set(place / "set.npz")
    gan_zoo.train(
        "infogan", "mnist-5k", out=place / "run", quiet=True, data=data, steps=1, batch_size=4, width=2, device="cpu"
    )
    return place


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAN_ZOO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run of its own, whose data are gone: a stranger's."""
    shutil.copytree(trained / "run", tmp_path / "run")
    return tmp_path / "run"


def checkpoint(run: Path) -> Path:
    (found,) = (run / "checkpoints").iterdir()
    return found


def seal(checkpoint: Path) -> None:
    """Write down the checksums that the files have now."""
    files = sorted(path for path in checkpoint.iterdir() if path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (checkpoint / "SHA256SUMS").write_text("".join(lines))


def train(data: object, *more: object) -> tuple[object, ...]:
    return ("train", "infogan", "--data", data, *TINY, *more)


def malicious(path: Path, way: str) -> Path:
    """A file that plants a file in the working folder when it is unpickled."""
    planted = Planted(Path(MINE).absolute())
    match way:
        case "pickle":
            path.write_bytes(pickle.dumps(planted))
        case "torch":
            torch.save({"images": planted}, path)
        case "old torch":
            torch.save({"images": planted}, path, _use_new_zipfile_serialization=False)
        case "objects" if path.suffix == ".npz":
            np.savez(path, images=np.array([planted, planted], dtype=object))
        case "objects":
            with path.open("wb") as file:
                np.save(file, np.array([planted, planted], dtype=object), allow_pickle=True)
    return path


WAYS = ("pickle", "torch", "old torch", "objects")


def test_these_files_are_malicious(tmp_path: Path) -> None:
    for way in WAYS:
        path = malicious(tmp_path / "a.pt", way)
        if "torch" in way:
            torch.load(path, weights_only=False)
        else:
            with path.open("rb") as file:
                np.load(file, allow_pickle=True)
        Path(MINE).unlink()  # fails if nothing was planted


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ending", [".pt", ".pkl", ".npz", ".npy", ".safetensors", ".toml", ".png"])
def test_no_pickle_is_read_as_data(tmp_path: Path, way: str, ending: str) -> None:
    path = malicious(tmp_path / f"a{ending}", way)
    assert path.name in unread(path)
    assert path.name in unread("array", path)
    unread("dsprites", path)
    unread("folder", path)
    refused("train", "infogan", "--config", path)


def test_no_pickle_is_read_by_a_training(tmp_path: Path) -> None:
    for ending in (".pt", ".npz", ".safetensors"):
        assert f"a{ending}" in refused(*train(malicious(tmp_path / f"a{ending}", "torch")))


@pytest.mark.parametrize("way", WAYS)
def test_no_pickle_is_read_as_images_run_weights_or_features(run: Path, way: str) -> None:
    image = malicious(Path("images.png"), way)
    Path("folder").mkdir()
    shutil.copy(image, "folder")
    assert "images.png" in unread("folder", "folder")
    assert "images.png" in refused("encode", run, image)
    assert "images.png" in refused("sample", image)
    for name in ("pt", "safetensors"):
        weights = malicious(Path(f"weights.{name}"), way)
        assert str(weights) in refused("evaluate", run, "--features", weights)
    malicious(checkpoint(run) / "model.safetensors", way)
    seal(checkpoint(run))
    assert "model.safetensors" in refused("sample", run)


# .npz and .npy


def npy(
    shape: object, descr: str = "|u1", *, fortran: object = False, values: bytes = b"", header: str | None = None
) -> bytes:
    """A .npy file with the given header and values."""
    text = (
        header
        if header is not None
        else f"{{'descr': {descr!r}, 'fortran_order': {fortran!r}, 'shape': {shape!r}, }}\n"
    )
    if len(text) < 2**16:
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin1") + values
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text.encode("latin1") + values


def npz(path: Path, says: dict[str, int] | None = None, **members: bytes) -> Path:
    """A .npz file; where `says` has a member's name, the archive's directory gives that size for it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
        for entry in archive.filelist:
            entry.file_size = (says or {}).get(entry.filename.removesuffix(".npy"), entry.file_size)
    return path


IMAGES = npy((24, 28, 28), values=bytes(24 * 28 * 28))
ABSURD = {
    "terabyte": npy((2**20, 2**10, 2**10)),
    "overflow": npy((2**62, 8, 8)),
    "beyond overflow": npy((2**200, 8, 8)),
    "wraps to nothing": npy((2**32, 2**16, 2**16)),
    "negative": npy((-1, 28, 28), values=bytes(28 * 28)),
    "many axes": npy((1,) * 60 + (28, 28)),
    "nested brackets": npy((), header="(" * 9000),
    "long header": npy((), header=" " * 2**24),
    "expression": npy((), header="__import__('os').system('touch planted')"),
    "generator": npy((), header="{'descr': '|u1', 'fortran_order': False, 'shape': (9**9**9,)}"),
    "wide values": npy((4, 28, 28), "|V2147483647"),
    "objects in fields": npy((4, 28, 28), "|O"),
    "huge header": b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
    "version": b"\x93NUMPY\x09\x09" + bytes(100),
    "words for shape": npy("x" * 5000),
}


@pytest.mark.parametrize("name", ABSURD)
def test_headers_of_arrays_that_lie_are_refused_unread(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.npy").write_bytes(ABSURD[name])
    assert "a.npy" in unread(tmp_path / "a.npy")
    assert "b.npz" in unread(npz(tmp_path / "b.npz", images=ABSURD[name]))
    assert "c.npz" in unread(npz(tmp_path / "c.npz", images=IMAGES, labels=ABSURD[name]))
    both = npz(tmp_path / "d.npz", imgs=IMAGES, latents_classes=ABSURD[name])
    assert "d.npz" in unread("dsprites", both)
    other = npz(tmp_path / "e.npz", imgs=ABSURD[name], latents_classes=npy((1, 6), "<i8", values=bytes(48)))
    assert "e.npz" in unread("dsprites", other)


def test_members_beyond_this_machine_s_memory_are_refused_from_the_directory(tmp_path: Path) -> None:
    terabyte, shape = 2**40, (2**20, 2**10, 2**10)
    content = npy(shape)
    size = {"images": terabyte + len(content)}
    assert "1,024.0 GiB of memory, and this machine has" in refused(
        *train(npz(tmp_path / "a.npz", size, images=content))
    )
    rows = 2**40 // 48
    table = npy((rows, 6), "<i8")
    path = npz(tmp_path / "d.npz", {"latents_classes": rows * 48 + len(table)}, imgs=IMAGES, latents_classes=table)
    assert "latents_classes would take" in unread("dsprites", path)


def test_the_bound_is_the_memory_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_set(tmp_path / "set.npz", images=2000)
    assert len(open_dataset(Data(name=str(path))).train) == 2000
    monkeypatch.setattr(bounds, "memory", lambda: 2**20)
    assert "set.npz: images, labels would take" in unread(path)
    save_file({"images": torch.zeros(2000, 28, 28, dtype=torch.uint8)}, tmp_path / "set.safetensors")
    assert "set.safetensors: images would take" in unread(tmp_path / "set.safetensors")


def test_members_that_have_no_meaning_are_not_unpacked(tmp_path: Path) -> None:
    bomb = npy((2**27,), values=bytes(2**27))
    path = npz(
        tmp_path / "set.npz",
        images=IMAGES,
        junk=bomb,
        metadata=npy((1,), "|O", values=pickle.dumps(Planted(Path(MINE)))),
    )
    del bomb
    with modest(mebibytes=60):
        assert len(open_dataset(Data(name=str(path))).train) == 24
    assert not Path(MINE).exists()


def test_no_name_in_an_archive_becomes_a_path(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    names = ("../images", "/tmp/images", "..\\images", "images/../images", "a\x1b[31m\nb", "x" * 5000)
    path = npz(tmp_path / "inner" / "a.npz", **dict.fromkeys(names, IMAGES))
    assert "has no images: its arrays are ../images, " in unread(path)
    path = npz(tmp_path / "inner" / "b.npz", **dict.fromkeys((*names, "images"), IMAGES))
    with modest():
        assert len(open_dataset(Data(name=str(path))).train) == 24
    assert {p.name for p in tmp_path.rglob("*")} == {"inner", "a.npz", "b.npz"}


def test_an_archive_whose_member_goes_on_is_refused(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", {"images": len(IMAGES)}, images=IMAGES + bytes(2**26))
    assert "a.npz" in unread(path)


def test_an_array_file_may_not_be_an_archive(tmp_path: Path) -> None:
    npz(tmp_path / "a.npz", images=IMAGES).rename(tmp_path / "a.npy")
    assert "it is not a .npy file" in refused(*train(tmp_path / "a.npy"))


# safetensors


def safetensors(header: Any, values: bytes = b"", *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + values


def one(name: str = "images", dtype: str = "U8", shape: Any = (1, 28, 28), at: Any = (0, 784)) -> dict[str, Any]:
    return {name: {"dtype": dtype, "shape": shape, "data_offsets": at}}


HOSTILE_TENSORS = {
    "header of 2^63 bytes": safetensors({}, length=2**63),
    "header of 2^64 - 1 bytes": safetensors({}, length=2**64 - 1),
    "header beyond the file": safetensors({}, length=10**6),
    "nested brackets": safetensors(b"[" * 10**6),
    "nested tables": safetensors(b'{"a":' * 10**6),
    "offsets out of the file": safetensors(one(at=(10**12, 10**12 + 784)), bytes(784)),
    "offsets backwards": safetensors(one(at=(784, 0)), bytes(784)),
    "offsets negative": safetensors(one(at=(-784, 0)), bytes(784)),
    "offsets overlapping": safetensors(one() | one("labels") | one("z", at=(400, 1184)), bytes(1184)),
    "absurd shape": safetensors(one(shape=(2**40, 28, 28)), bytes(784)),
    "overflowing shape": safetensors(one(shape=(2**62, 2**62, 4)), bytes(784)),
    "wrapping shape": safetensors(one(shape=(2**32, 2**32, 1), at=(0, 0))),
    "shape below zero": safetensors(one(shape=(-1, 28, 28)), bytes(784)),
    "fractional shape": safetensors(one(shape=(1.5, 28, 28)), bytes(784)),
    "no type": safetensors(one(dtype="OBJECT"), bytes(784)),
    "text for a header": safetensors(b"\xff" * 64),
    "empty": b"",
    "truncated": safetensors(one(), bytes(700)),
    "nothing": safetensors({}),
    "numbers": safetensors(b"1" * 10**6),
    "many empty tensors": safetensors({f"{k}": one(shape=(0,), at=(0, 0))["images"] for k in range(5000)}),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_TENSORS)
def test_hostile_safetensors_are_refused_everywhere(run: Path, name: str) -> None:
    path = Path("a.safetensors")
    path.write_bytes(HOSTILE_TENSORS[name])
    assert "a.safetensors" in unread(path)
    refused("evaluate", run, "--features", path)
    shutil.copy(path, checkpoint(run) / "model.safetensors")
    seal(checkpoint(run))
    assert "model.safetensors" in refused("sample", run)


def test_only_tensors_that_have_a_meaning_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, junk = tmp_path / "a.safetensors", 2**32
    header = one(at=(junk, junk + 784)) | one("junk", shape=(junk,), at=(0, junk))
    with path.open("wb") as file:
        file.write(safetensors(header))
        file.seek(junk, os.SEEK_CUR)  # a hole: no disk is used
        file.write(bytes(784))
    monkeypatch.setattr(bounds, "memory", lambda: 2**20)
    with modest():
        assert len(open_dataset(Data(name=str(path))).train) == 1


# images


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*chunks: bytes, size: tuple[int, int] = (28, 28)) -> bytes:
    """A PNG file of grey pixels that says it is of this size, with further chunks."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(28 * 29)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def ico(inside: bytes) -> bytes:
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 28, 28, 0, 0, 1, 32, len(inside), 22) + inside


def gif(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", *screen, 0x80, 0, 0)
        + bytes(6)
        + b","
        + struct.pack("<HHHHB", 0, 0, *frame, 0)
        + b"\x02\x02\x4c\x01\x00;"
    )


def tiff(tags: dict[int, tuple[int, int]]) -> bytes:
    """A TIFF file of one directory with long values: `tag: (count, value)`."""
    entries = b"".join(struct.pack("<HHII", tag, 4, *value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4 + 64)


@cache
def _bomb(size: int) -> bytes:
    file = io.BytesIO()
    Image.new("1", (size, size)).save(file, "PNG")
    return file.getvalue()


ZEROS = zlib.compress(bytes(2**27), 1)
GREY = {
    256: (1, 28),
    257: (1, 28),
    258: (1, 8),
    259: (1, 1),
    262: (1, 1),
    273: (1, 8),
    277: (1, 1),
    278: (1, 28),
    279: (1, 784),
}
BOMBS: dict[str, bytes | Callable[[], bytes]] = {
    "png of 2^31 pixels square.png": png(size=(2**31 - 1, 2**31 - 1)),
    "png of 20000 square.png": lambda: _bomb(20_000),
    "png of 12000 square.png": lambda: _bomb(12_000),
    "png with a packed text.png": png(chunk(b"zTXt", b"a\0\0" + ZEROS)),
    "png with a packed international text.png": png(chunk(b"iTXt", b"a\0\1\0\0\0" + ZEROS)),
    "png with a packed profile.png": png(chunk(b"iCCP", b"a\0\0" + ZEROS), size=(2**15, 2**15)),
    "png with a chunk beyond the file.png": png(struct.pack(">I", 2**31 - 1) + b"tEXt"),
    "gif with a large screen.gif": gif((65535, 65535), (28, 28)),
    "gif with a large frame.gif": gif((28, 28), (65535, 65535)),
    "tiff of 2^32 pixels square.tiff": tiff(GREY | {256: (1, 2**32 - 1), 257: (1, 2**32 - 1)}),
    "tiff with many strips.tiff": tiff(GREY | {273: (2**32 - 1, 8)}),
    "tiff of many samples.tiff": tiff(GREY | {277: (1, 2**31)}),
    "tiff directory in a circle.tiff": b"II*\0" + struct.pack("<IH", 8, 0) + struct.pack("<I", 8),
    "icon with a png of 20000 square.ico": lambda: ico(_bomb(20_000)),
    "icon with a png of 12000 square.ico": lambda: ico(_bomb(12_000)),
    "icon of many.ico": struct.pack("<HHH", 0, 1, 65535),
    "tga of 65535 square.tga": struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 65535, 65535, 24, 0),
    "ppm of 10^9 square.ppm": b"P6 1000000000 1000000000 255\n",
    "ppm with a long number.ppm": b"P5 " + b"9" * 10**6,
    "large.bmp": b"BM" + struct.pack("<IHHIIIIHH", 100, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24) + bytes(24),
    "a name\nover two\x1b[31m lines.png": b"no image",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_image_bombs_are_refused_by_name(run: Path, name: str) -> None:
    Path("folder").mkdir()
    Image.new("L", (28, 28)).save("folder/good.png")
    content = BOMBS[name]
    Path("folder", name).write_bytes(content() if callable(content) else content)
    assert quoted(name) in unread("folder", "folder")
    assert quoted(name) in unread("folder", "folder", resolution=28, channels=1)
    assert quoted(f"folder/{name}") in refused("encode", run, Path("folder", name))


def test_a_bomb_is_told_when_it_is_met_in_a_stream(recwarn: pytest.WarningsRecorder) -> None:
    Path("folder").mkdir()
    Path("folder/bomb.png").write_bytes(_bomb(12_000))
    stream = ("--data.memory", "0", "--data.workers", "0", "--data.resolution", "28", "--data.channels", "1")
    assert "bomb.png" in refused(*train("folder", "--data.path", "folder", *stream))
    assert not recwarn.list


def test_links_pipes_and_devices_among_images_are_refused_or_passed_over(tmp_path: Path, run: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    Image.new("L", (28, 28)).save(folder / "good.png")
    Image.new("L", (28, 28)).save(tmp_path / "secret.png")
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "up.png").symlink_to("../secret.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "again").symlink_to(folder, target_is_directory=True)
    (folder / "deep" / "above").symlink_to("..", target_is_directory=True)
    with modest():
        assert len(open_dataset(Data(name=str(folder))).train) == 1
    (folder / "circle.png").symlink_to("circle.png")
    assert "circle.png (no" in unread(folder)
    (folder / "circle.png").unlink()
    os.mkfifo(folder / "pipe.png")
    assert "pipe.png (not a regular file)" in unread(folder)
    assert "pipe.png" in refused("encode", run, folder / "pipe.png")
    assert "zero.png" in refused("encode", run, folder / "zero.png")


# Pipes and devices instead of files


@pytest.fixture(params=["pipe", "zero", "circle", "folder"])
def endless(request: pytest.FixtureRequest) -> Callable[[Path], Path]:
    """Put what has no end, or is no file, in a file's place."""

    def put(path: Path) -> Path:
        path.unlink(missing_ok=True)
        match request.param:
            case "pipe":
                os.mkfifo(path)
            case "zero":
                path.symlink_to("/dev/zero")
            case "circle":
                path.symlink_to(path.name)
            case _:
                path.mkdir()
        return path

    return put


@pytest.mark.parametrize("ending", [".npz", ".npy", ".safetensors", ".parquet"])
def test_what_is_no_file_is_no_data(endless: Callable[[Path], Path], run: Path, ending: str) -> None:
    path = endless(Path(f"a{ending}"))
    for name in ("array", "dsprites", "hub", "mnist", "folder"):
        unread(name, path)
    unread(path)
    refused("encode", run, path)
    refused("evaluate", run, "--features", path)


def test_what_is_no_file_is_no_part_of_a_set(endless: Callable[[Path], Path]) -> None:
    Path("mnist").mkdir()
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        endless(Path("mnist", name))
    assert "no train-images-idx3-ubyte" in unread("mnist", "mnist")
    Path("saved").mkdir()
    endless(Path("saved/state.json"))
    unread("hub", "saved")


def test_what_is_no_file_is_no_configuration(endless: Callable[[Path], Path]) -> None:
    path = endless(Path("a.toml"))
    assert "a.toml" in refused("train", "infogan", "--config", path)


@pytest.mark.parametrize(
    "name", ["config.toml", "state.json", "model.safetensors", "ema.safetensors", "optimizer.safetensors"]
)
def test_what_is_no_file_is_no_part_of_a_run(endless: Callable[[Path], Path], run: Path, name: str) -> None:
    endless((run if name == "config.toml" else checkpoint(run)) / name)
    refused("sample", run)
    if name == "state.json":
        refused("train", "--resume", "--out", run, "--steps", "2")


def test_what_is_no_file_is_no_log(endless: Callable[[Path], Path], run: Path, trained: Path) -> None:
    endless(run / "metrics.jsonl")
    with modest():
        ended = zoo("train", "--resume", "--out", run, "--steps", "2", "--data", trained / "set.npz")
    if ended.code == 0:  # the file was not a log and was replaced by one
        assert (run / "metrics.jsonl").is_file()
    else:
        assert "metrics.jsonl" in ended.err and ended.err.count("\n") == 1, ended


# IDX files and dSprites


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    "shape", [(2**32 - 1,) * 3, (2**31, 28, 28), (60_000, 28, 28), (0, 2**32 - 1, 2**32 - 1), (24, 0, 0)]
)
def test_idx_files_whose_header_lies_are_refused(shape: tuple[int, int, int], pack: Callable[[bytes], bytes]) -> None:
    Path("mnist").mkdir()
    Path("mnist/train-images-idx3-ubyte").write_bytes(pack(struct.pack(">I3I", 0x803, *shape) + bytes(784)))
    Path("mnist/train-labels-idx1-ubyte").write_bytes(pack(struct.pack(">II", 0x801, shape[0])))
    assert "train-images-idx3-ubyte" in unread("mnist", "mnist")


def test_a_gzipped_bomb_is_read_no_further_than_its_header_says(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mnist").mkdir()
    content = struct.pack(">I3I", 0x803, 24, 28, 28) + bytes(2**26)
    Path("mnist/train-images-idx3-ubyte").write_bytes(gzip.compress(content, 1))
    Path("mnist/train-labels-idx1-ubyte").write_bytes(gzip.compress(struct.pack(">II", 0x801, 24) + bytes(24)))
    del content
    assert "but contains more" in unread("mnist", "mnist")
    content = struct.pack(">I3I", 0x803, 2**26 // 784, 28, 28) + bytes(2**26)
    Path("mnist/train-images-idx3-ubyte").write_bytes(gzip.compress(content, 1))
    del content
    monkeypatch.setattr(bounds, "memory", lambda: 2**25)
    assert "would take" in unread("mnist", "mnist")


def test_dsprites_of_absurd_sides_are_refused(tmp_path: Path) -> None:
    table = npy((2, 6), "<i8", values=bytes(8 * 11) + struct.pack("<q", 1))
    for side in (2**15, 2**31):
        content = npy((2, side, side))
        path = npz(tmp_path / "d.npz", {"imgs": 2 * side**2 + len(content)}, imgs=content, latents_classes=table)
        assert "imgs is uint8" in unread("dsprites", path)


# Sets in the layouts of the hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    module = pytest.importorskip("datasets", reason="the extra `hub` is not installed")
    cache = tmp_path.parent / f"{tmp_path.name}-cache"
    monkeypatch.setattr(module.config, "HF_DATASETS_CACHE", cache)
    monkeypatch.setattr(module.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    module.disable_progress_bars()
    return module


def cells(module: Any, *found: dict[str, Any]) -> Any:
    kind = module.Features({"image": {"bytes": module.Value("binary"), "path": module.Value("string")}})
    table = module.Dataset.from_dict({"image": [*found]}, features=kind)
    return table.cast(module.Features({"image": module.Image()}))


def _encoded() -> bytes:
    file = io.BytesIO()
    Image.new("L", (28, 28)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("way", ["absolute", "above", "link", "address", "device"])
def test_a_cell_that_names_a_file_outside_the_set_is_refused(hub: Any, tmp_path: Path, way: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "set"
    folder.mkdir()
    secret = tmp_path / "secret.png"
    secret.write_bytes(_encoded())
    (folder / "link.png").symlink_to(secret)
    (folder / "own.png").write_bytes(_encoded())
    named = {
        "absolute": str(secret),
        "above": "../secret.png",
        "link": "link.png",
        "address": f"zip://secret.png::{secret}",
        "device": "/dev/zero",
    }[way]
    for name in (named, "own.png"):
        table = pa.table({"image": [{"bytes": None, "path": name}, {"bytes": _encoded(), "path": None}]})
        facts = json.dumps({"info": {"features": {"image": {"_type": "Image"}}}})
        pq.write_table(table.replace_schema_metadata({"huggingface": facts}), folder / "train.parquet")
        for path in (folder, folder / "train.parquet"):
            if name == "own.png":
                assert len(open_dataset(Data(name="hub", path=str(path))).train) == 2
            else:
                assert "is outside the dataset's folder" in unread("hub", path)


def test_a_saved_folder_that_names_files_elsewhere_is_refused(hub: Any, tmp_path: Path) -> None:
    table = cells(hub, {"bytes": _encoded(), "path": None})
    table.save_to_disk(tmp_path / "other")
    table.save_to_disk(tmp_path / "set")
    state = json.loads((tmp_path / "set/state.json").read_text())
    for name in ("../other/data-00000-of-00001.arrow", str(tmp_path / "other/data-00000-of-00001.arrow"), "/dev/zero"):
        (tmp_path / "set/state.json").write_text(json.dumps(state | {"_data_files": [{"filename": name}]}))
        assert "is not a file below the dataset's folder" in unread("hub", "set")
    (tmp_path / "several").mkdir()
    (tmp_path / "several/dataset_dict.json").write_text(json.dumps({"splits": ["../other"]}))
    assert "is not a file below the dataset's folder" in unread("hub", "several")


def test_what_lies_beside_parquet_files_is_not_run_nor_followed(hub: Any, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    table = cells(hub, *[{"bytes": _encoded(), "path": None}] * 4)
    table.to_parquet(folder / "train.parquet")
    table.to_parquet(tmp_path / "elsewhere.parquet")
    for name in ("set.py", THEIRS, "datasets.py", "__init__.py"):
        (folder / name).write_text(f"from pathlib import Path\nPath({str(tmp_path / MINE)!r}).touch()\n")
    listed = "\n".join(
        [
            "---",
            "configs:",
            "- config_name: default",
            "  data_files:",
            "  - split: train",
            "    path: ../elsewhere.parquet",
            "---",
        ]
    )
    (folder / "README.md").write_text(listed)
    (folder / "pictures.tar").write_bytes(malicious(tmp_path / "a.pth", "torch").read_bytes())
    with modest(seconds=20):
        assert len(open_dataset(Data(name="hub", path="set")).train) == 4
    assert not Path(MINE).exists()
    for name in ("train.parquet", "README.md"):
        (folder / name).unlink()
    assert "contains no dataset" in unread("hub", "set")


def test_the_library_s_own_builders_are_told_by_what_they_read(hub: Any, tmp_path: Path) -> None:
    from gan_zoo.data.hub_dataset import _check_builder

    (tmp_path / "set").mkdir()
    cells(hub, {"bytes": _encoded(), "path": None}).to_parquet(tmp_path / "set/train.parquet")
    (tmp_path / "set/README.md").write_text("---\nconfigs:\n- config_name: a\n  data_files: train.parquet\n---\n")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/train.txt").write_text("text")
    with pytest.raises(InputError, match="refers to a file outside its repository"):  # its format was accepted
        _check_builder(hub.load_dataset_builder("set", "a"), "org/name", "org/name")
    with pytest.raises(InputError, match="text files; accepted: parquet"):
        _check_builder(hub.load_dataset_builder("texts"), "org/name", "org/name")


def test_sets_of_the_hub_are_of_formats_that_hold_no_program(hub: Any) -> None:
    from gan_zoo.data.hub_dataset import _check_builder

    class Builder:
        class config:  # noqa: N801
            data_files = {"train": ["hf://datasets/org/name@abc/train.parquet"]}

    for kind, accepted in (
        ("parquet", True),
        ("imagefolder", True),
        ("webdataset", False),
        ("pandas", False),
        ("hdf5", False),
    ):
        Builder.__module__ = f"datasets.packaged_modules.{kind}.{kind}"
        if accepted:
            _check_builder(Builder(), "org/name", "org/name")
        else:
            with pytest.raises(InputError, match=f"{kind} files; accepted: parquet"):
                _check_builder(Builder(), "org/name", "org/name")
    Builder.__module__ = "gan_zoo.evil"
    with pytest.raises(InputError, match="foreign files; accepted: parquet"):
        _check_builder(Builder(), "org/name", "org/name")
    Builder.__module__ = "datasets.packaged_modules.parquet.parquet"
    for file in ("/etc/passwd", "https://example.org/a.parquet", "hf://datasets/other/name@abc/a.parquet"):
        Builder.config.data_files = {"train": [file]}
        with pytest.raises(InputError, match="refers to a file outside its repository"):
            _check_builder(Builder(), "org/name", "org/name")


# Configurations


TREES = {
    "nested arrays": "a = " + "[" * 10**5,
    "closed nested arrays": "a = " + "[" * 5000 + "]" * 5000,
    "nested tables": "a = " + "{a = " * 10**4,
    "a long key": ".".join("a" * 50_000) + " = 1",
    "a long key in spaces": " . ".join("a" * 50_000) + " = 1",
    "a long key in quotes": ".".join(['"a"'] * 50_000) + " = 1",
    "a long table's name": "[" + ".".join("a" * 50_000) + "]",
    "many long keys": "\n".join(".".join("a" * 15) + f".b{k} = 1" for k in range(2000)),
    "many tables": "\n".join(f"[a{k}]" for k in range(10_000)),
    "many dots": "." * 10**5,
    "one word": "a" * 10**5,
    "many words": "a " * 10**5,
    "one string": 'model = "' + "a" * 10**5 + '"',
    "one escaped string": 'model = "' + "\\n" * 10**5 + '"',
    "one string for codes": '[infogan]\ncodes = "' + "a" * 10**5 + '"',
    "one string for a trunk": '[trunk]\nname = "' + "a" * 10**5 + '"',
    "many codes": '[infogan]\ncodes = "' + "uniform:1," * 5_000 + '"',
    "one string for data": '[data]\nname = "' + "a" * 10**5 + '"',
    "one string for augment": '[data]\naugment = "' + "a" * 10**5 + '"',
    "one string for a device": '[training]\ndevice = "' + "a" * 10**5 + '"',
    "one long name": '"' + "a" * 10**5 + '" = 1',
    "one long name in a table": '[training]\n"' + "a" * 10**5 + '" = 1',
    "quotes": '"' * 10**5,
    "a long number": "seed = " + "9" * 10**5,
    "a long hexadecimal number": "seed = 0x" + "f" * 10**5,
    "a long fraction": "[training]\nema = 0." + "9" * 10**5,
    "a long list": "[data]\nbalance = [" + "2, " * 10_000 + "]",
    "deep lists": "[data]\nbalance = " + "[" * 200 + "]" * 200,
    "a large file": "# " + "a" * 2**21,
    "control characters": 'model = "\\u001b[31m\\u0007"',
    "no text": "\0\x01\x02" * 1000,
}


@pytest.mark.parametrize("name", TREES)
def test_hostile_trees_are_refused_soon(run: Path, name: str) -> None:
    Path("a.toml").write_text(TREES[name])
    line = refused("train", "infogan", "--config", "a.toml")
    assert "a.toml" in line or name.startswith("one string for")  # what is found later is told by its key
    shutil.copy("a.toml", run / "config.toml")
    refused("sample", run)


@pytest.mark.parametrize("written", ["[0]", "0", '""', "{}", "true", "1979-05-27"])
def test_a_preset_that_is_no_name_is_refused(written: str) -> None:
    Path("a.toml").write_text(f"preset = {written}\n")
    assert "a.toml: unknown preset" in refused("train", "infogan", "--config", "a.toml")


def test_a_file_without_an_end_is_read_to_the_bound() -> None:
    with Path("a.toml").open("wb") as file:
        file.truncate(2**36)  # a hole
    assert "longer than 262,144 bytes" in refused("train", "infogan", "--config", "a.toml")


# A stranger's run


def edit(run: Path, old: str, new: str) -> None:
    file = run / "config.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    "name", ["os:system", "os.system", "../../model", "evil", "gan_zoo.models.gan.model:GAN", "", "__main__"]
)
@pytest.mark.parametrize("key", ["model", "trunk", "data", "loss"])
def test_names_in_a_run_are_those_of_installed_things(run: Path, key: str, name: str) -> None:
    known = {"model": '"infogan"', "trunk": '"infogan-mnist"', "loss": '"non-saturating"'}
    if key == "data":
        file = run / "config.toml"
        lines = [f'name = "{name}"' if "set.npz" in line else line for line in file.read_text().splitlines()]
        file.write_text("\n".join(lines))
        refused("encode", run, "--split", "train")
        return
    edit(run, known[key], f'"{name}"')
    line = refused("sample", run)
    assert f"'{name}'" in line and "Known: " in line


def test_programs_in_folders_of_runs_and_data_are_not_imported(run: Path, trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(trained / "set.npz", folder)
    for place in (run, folder, checkpoint(run)):
        for name in (THEIRS, "usercustomize.py", "gan_zoo_evil.py", "conftest.py", "infogan.py", "torch.py"):
            (place / name).write_text(f"from pathlib import Path\nPath({str(tmp_path / MINE)!r}).touch()\n")
        info = place / "evil-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[gan_zoo.models]\nevil = gan_zoo_evil:Evil\n")
    ended = zoo_process("sample", run, "--out", tmp_path / "a.png", cwd=tmp_path, python=("-P",))
    assert ended.code == 0, ended
    path = list(sys.path)
    assert zoo("encode", run, folder / "set.npz", "--out", "codes.csv").code == 0
    assert sys.path == path
    assert not Path(MINE).exists()


GREEDY = {
    "width": ("width = 2", "width = 1000000"),
    "greater width": ("width = 2", "width = 1000000000000"),
    "greatest width": ("width = 2", f"width = {2**63 - 1}"),
    "some width": ("width = 2", "width = 5000"),
    "noise": ("noise = 62", "noise = 999999999"),
    "codes": ('codes = "categorical:10, uniform:2"', 'codes = "categorical:4096x16"'),
    "more codes": ('codes = "categorical:10, uniform:2"', 'codes = "categorical:4096x4096"'),
    "classes": ("classes = 10", "classes = 1000000000000"),
    "batch": ("batch_size = 4", "batch_size = 1000000000000"),
}


@pytest.mark.parametrize("name", GREEDY)
def test_a_run_that_asks_for_terabytes_is_refused_when_it_is_loaded(run: Path, name: str) -> None:
    edit(run, *GREEDY[name])
    if name in ("batch", "classes"):  # of which a sample needs nothing
        with modest():
            assert zoo("sample", run).code == 0
        return
    refused("sample", run, mebibytes=600)


def test_weights_of_another_shape_are_refused_unread(run: Path) -> None:
    path = checkpoint(run) / "model.safetensors"
    tensors = load_file(path)
    name = max(tensors, key=lambda key: tensors[key].numel())
    save_file(tensors | {name: torch.zeros(2, 2**16)}, path)
    seal(checkpoint(run))
    assert f"{name} has shape [2, 65536]" in refused("sample", run)


def test_moments_of_another_optimizer_are_refused(run: Path, trained: Path) -> None:
    path = checkpoint(run) / "optimizer.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("exp_avg"))
    for changed in ({}, {f"{name}_of_mine": tensors[name]}):
        save_file({key: value for key, value in tensors.items() if key != name} | changed, path)
        seal(checkpoint(run))
        line = refused("train", "--resume", "--out", run, "--steps", "2", "--data", trained / "set.npz")
        assert "optimizer state is incomplete: no moments for " in line


def test_what_is_typed_reaches_the_terminal_without_control_characters() -> None:
    assert "31m" in refused("sample", "\x1b[31m")
    assert "31m" in refused(*train("\x1b[31m"))
