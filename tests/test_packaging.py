"""What is built, what it asks for, and what importing it costs."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from commandline import Ended

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
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]


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
    assert {*HIDDEN} <= {*(facts.get_all("Provides-Extra") or [])}
    plain = [need for need in facts.get_all("Requires-Dist") or [] if "extra ==" not in need]
    for packages in HIDDEN.values():
        for package in packages:
            assert not any(need.startswith(package) for need in plain)


HIDDEN = {
    "hub": ("datasets", "pyarrow"),
    "inception": ("torch_fidelity",),
    "plot": ("matplotlib",),
    "tensorboard": ("tensorboard",),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
"""The packages that are hidden where an extra is not installed."""

WITHOUT = """
import sys
sys.modules.update(dict.fromkeys({hidden!r}))
{code}
"""

TRAIN = "from gan_zoo.cli import main; main({args!r}.split())"
PLAIN = "train gan --trunk.name mlp --trunk.width 2 --steps 1 --batch-size 4 --device cpu --out"


def without(hidden: tuple[str, ...], code: str, place: Path) -> Ended:
    """A process in which these packages cannot be imported."""
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(hidden=hidden, code=code)],
        cwd=place,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize(
    ("extra", "args"),
    [
        ("hub", f"{PLAIN} run --data cifar10"),
        ("tensorboard", f"{PLAIN} run --logging.trackers tensorboard"),
        ("trackio", f"{PLAIN} run --logging.trackers trackio"),
        ("wandb", f"{PLAIN} run --logging.trackers wandb"),
    ],
)
def test_a_feature_whose_extra_is_missing_names_it_in_one_line(extra: str, args: str, tmp_path: Path) -> None:
    ended = without(HIDDEN[extra], TRAIN.format(args=args), tmp_path)
    assert (ended.code, len(ended.err.splitlines())) == (2, 1), ended.err
    assert f"pip install 'gan-zoo[{extra}]'" in ended.err
    assert not any(tmp_path.iterdir())


def test_without_any_extra_training_works(tmp_path: Path) -> None:
    hidden = tuple(package for packages in HIDDEN.values() for package in packages)
    ended = without(hidden, TRAIN.format(args=f"{PLAIN} run"), tmp_path)
    assert ended.code == 0, ended.err
    assert (tmp_path / "run" / "metrics.jsonl").is_file()


TIMED = """
import time
begun = time.process_time()
import gan_zoo
print(time.process_time() - begun)
"""


def test_importing_the_package_takes_less_than_50_ms() -> None:
    def seconds() -> float:
        command = [sys.executable, "-c", TIMED]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert any(seconds() < 0.05 for _ in range(5)), "of the processor's time, at its best of five"


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".whl", ".tar.gz"])
def test_it_installs_into_an_empty_environment_and_trains_from_another_folder(
    ending: str, built: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "empty", with_pip=True)
    programs = tmp_path / "empty" / "bin"
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    install = [programs / "python", "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt"]
    subprocess.run([*install, only(built, ending)], env=alone, check=True)
    (tmp_path / "elsewhere").mkdir()
    command = [programs / "gan-zoo", "train", "infogan", "--steps", "20"]
    ended = subprocess.run(command, env=alone, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "elsewhere/runs/infogan-mnist-5k-001/samples/traversal.png").is_file()
