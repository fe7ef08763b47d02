"""The built distributions, their dependencies, and the cost of an import."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from importlib.util import find_spec
from pathlib import Path

import pytest
from commandline import Ended, pip_install, zoo
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gan_zoo import skeleton
from gan_zoo.registry import weights

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    place = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", place, ROOT]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return place


def only(folder: Path, ending: str) -> Path:
    (found,) = folder.glob(f"*{ending}")
    return found


def test_the_wheel_holds_both_packages_with_types_presets_and_digits(built: Path) -> None:
    with zipfile.ZipFile(only(built, ".whl")) as wheel:
        names = set(wheel.namelist())
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"gan_zoo", "gan_zoo_kernels"}
    assert {"gan_zoo/py.typed", "gan_zoo_kernels/py.typed"} <= names
    sources = [p for p in (ROOT / "gan_zoo").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert {str(path.relative_to(ROOT)) for path in sources} <= names
    assert {f"gan_zoo/plugin_example/{path}" for path in skeleton.FILES} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]


def test_the_weights_take_six_mebibytes_of_the_wheel_at_most(built: Path) -> None:
    with zipfile.ZipFile(only(built, ".whl")) as wheel:
        sizes = {f.filename: f.compress_size for f in wheel.infolist() if f.filename.startswith("gan_zoo/weights/")}
    for name in (name for name, entry in weights.entries.items() if entry.origin == "gan-zoo"):
        assert sizes[f"gan_zoo/weights/{name}/model.safetensors"] > 2**20
    assert sum(sizes.values()) <= 6 * 2**20


def test_the_sdist_holds_what_tests_and_documents_need(built: Path) -> None:
    with tarfile.open(only(built, ".tar.gz")) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    needed = ("README.md", "LICENSE", "constraints.txt", "Makefile", "tests/conftest.py", "docs/design.md")
    assert set(needed) <= names
    assert {"examples/gan_zoo_plugin/pyproject.toml", "kernels/gan_zoo_kernels/__init__.py"} <= names
    assert not [name for name in names if name.startswith(("runs/", ".venv/")) or "__pycache__" in name]


def test_extras_are_listed_and_nothing_of_theirs_is_asked_for_without_them(built: Path) -> None:
    with zipfile.ZipFile(only(built, ".whl")) as wheel:
        (name,) = (n for n in wheel.namelist() if n.endswith("METADATA"))
        facts = Parser().parsestr(wheel.read(name).decode())
    assert {*FEATURES} - {""} < {*(facts.get_all("Provides-Extra") or [])}
    needs = [Requirement(need) for need in facts.get_all("Requires-Dist") or []]
    plain = {need.name for need in needs if need.marker is None or "extra" not in str(need.marker)}
    of_extras = {need.name for need in needs if need.name not in plain}
    assert {"torch", "safetensors", "einops", "rich"} <= plain
    assert {"gradio", "datasets", "huggingface-hub", "matplotlib", "tensorboard", "onnxruntime"} <= of_extras


def needed(extra: str) -> set[str]:
    """Every installed distribution that gan-zoo needs with this extra (none: ""), and what those need."""
    found: set[str] = set()
    waiting = [("gan-zoo", frozenset({extra}))]
    while waiting:
        name, extras = waiting.pop()
        found.add(canonicalize_name(name))
        try:
            needs = [Requirement(need) for need in requires(name) or []]
        except PackageNotFoundError:
            continue
        for need in needs:
            wanted = need.marker is None or any(need.marker.evaluate({"extra": e}) for e in {"", *extras})
            if wanted and canonicalize_name(need.name) not in found:
                waiting.append((need.name, frozenset(need.extras)))
    return found


def foreign(extra: str) -> tuple[str, ...]:
    """Every installed module that is none of `needed`."""
    own = needed(extra)
    return tuple(
        module
        for module, names in packages_distributions().items()
        if not own.intersection(map(canonicalize_name, names))
    )


WITHOUT = """
import sys
sys.modules.update(dict.fromkeys({hidden!r}))
{code}
"""

PLAIN = "train gan --trunk.name mlp --trunk.width 2 --steps 1 --batch-size 4 --device cpu --out run"
TRAIN = "from gan_zoo.cli import main; main({args!r}.split())\n"


def without(hidden: tuple[str, ...], code: str, place: Path, **variables: str) -> Ended:
    """A process in which these modules cannot be imported."""
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(hidden=hidden, code=code)],
        cwd=place,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize(
    ("module", "extra", "args"),
    [
        ("datasets", "hub", f"{PLAIN} --data cifar10"),
        ("huggingface_hub", "hub", "sample hf://org/name"),
        ("tensorboard", "tensorboard", f"{PLAIN} --logging.trackers tensorboard"),
        ("trackio", "trackio", f"{PLAIN} --logging.trackers trackio"),
        ("wandb", "wandb", f"{PLAIN} --logging.trackers wandb"),
    ],
)
def test_a_feature_whose_extra_is_missing_names_it_in_one_line(
    module: str, extra: str, args: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    theirs = [name for name in sys.modules if module in name.split(".") and not name.startswith("gan_zoo.")]
    for name in [*theirs, module]:  # torch.utils.tensorboard, too
        monkeypatch.setitem(sys.modules, name, None)
    ended = zoo(*args.split())
    assert (ended.code, len(ended.err.splitlines())) == (2, 1), ended.err
    assert f"pip install 'gan-zoo[{extra}]'" in ended.err
    assert not any(tmp_path.iterdir())


FEATURES = {
    "": (("torch",), TRAIN.format(args=PLAIN)),
    "explore": (
        ("gradio",),
        TRAIN.format(args=PLAIN) + "from pathlib import Path\n"
        "from gan_zoo.explore.server import application\nfrom gan_zoo.explore.view import View\n"
        "application([View(Path('run'))])",
    ),
    "hub": (
        ("datasets", "pyarrow", "huggingface_hub"),
        "import datasets, numpy\nfrom PIL import Image\n"
        "images = [Image.fromarray(numpy.full((28, 28), k, 'uint8')) for k in range(8)]\n"
        "datasets.Dataset.from_dict({'image': images}).save_to_disk('set', num_proc=None)\n"
        + TRAIN.format(args=f"{PLAIN} --data hub --data.path set"),
    ),
    "onnx": (
        ("onnx", "onnxruntime", "onnxscript"),
        TRAIN.format(args=PLAIN) + TRAIN.format(args="export run --out out --onnx"),
    ),
    "plot": (
        ("matplotlib",),
        "from pathlib import Path\nfrom gan_zoo.bench import pages, record\n"
        f"report = record.read(Path({str(ROOT / 'benchmarks/results/step-cpu.json')!r}))\n"
        "assert pages.write(report, Path('report.json'))[1].name == 'report.png'",
    ),
    "tensorboard": (("tensorboard",), TRAIN.format(args=f"{PLAIN} --logging.trackers tensorboard")),
    "trackio": (("trackio",), TRAIN.format(args=f"{PLAIN} --logging.trackers trackio")),
    "wandb": (("wandb",), TRAIN.format(args=f"{PLAIN} --logging.trackers wandb")),
}
"""What each extra brings, and what it is for; Inception needs weights, too (tests/analysis/test_inception.py)."""


@pytest.mark.slow  # half a minute each; other tests try most of these features with everything installed
@pytest.mark.parametrize("extra", FEATURES)
def test_an_extra_is_all_that_its_feature_needs(extra: str, tmp_path: Path) -> None:
    modules, code = FEATURES[extra]
    if missing := [module for module in modules if find_spec(module) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    hidden = foreign(extra)
    assert not {*modules, "torch", "gan_zoo"}.intersection(hidden)
    assert "pytest" in hidden
    ended = without(hidden, code, tmp_path)
    assert ended.code == 0, ended.err


TIMED = """
import time
begun = time.process_time()
import gan_zoo
imported = time.process_time()
import pydantic
print((imported - begun) / (time.process_time() - imported))
"""


def test_importing_the_package_takes_a_quarter_of_importing_pydantic_at_most() -> None:
    """In the processor's time, whose speed does not count then. It is a tenth; NumPy alone would be two."""

    def share() -> float:
        command = [sys.executable, "-c", TIMED]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert any(share() < 0.25 for _ in range(5))


@pytest.mark.slow
def test_the_wheel_trains_from_another_folder(built: Path, tmp_path: Path) -> None:
    pip_install(only(built, ".whl"), tmp_path / "site")
    (tmp_path / "elsewhere").mkdir()
    found = "import gan_zoo, gan_zoo_kernels, sys; print(gan_zoo.__file__, gan_zoo_kernels.__file__)\n"
    ended = without((), found + TRAIN.format(args=PLAIN), tmp_path / "elsewhere", PYTHONPATH=str(tmp_path / "site"))
    assert ended.code == 0, ended.err
    assert all(Path(file).is_relative_to(tmp_path / "site") for file in ended.out.splitlines()[0].split())


PYTHONS = [python for minor in (11, 12, 13, 14) if (python := shutil.which(f"python3.{minor}"))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "python"), [(".tar.gz", sys.executable), *((".whl", python) for python in (PYTHONS or [sys.executable]))]
)
def test_it_installs_into_an_empty_environment_and_trains_from_another_folder(
    ending: str, python: str, built: Path, tmp_path: Path
) -> None:
    if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:  # a version manager's stand-in
        pytest.skip(f"{python} does not run")
    subprocess.run([python, "-m", "venv", tmp_path / "empty"], check=True)
    programs = tmp_path / "empty" / "bin"
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    install = [programs / "python", "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt"]
    subprocess.run([*install, only(built, ending)], env=alone, check=True)
    (tmp_path / "elsewhere").mkdir()
    command = [programs / "gan-zoo", "train", "infogan", "--steps", "20"]
    ended = subprocess.run(command, env=alone, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "elsewhere/runs/infogan-mnist-5k-001/samples/traversal.png").is_file()
