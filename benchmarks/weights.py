"""Put a run's model into the package as weights of a name, in int8, with the figures of these weights in its card.

    gan-zoo train infogan --out runs/digits
    python benchmarks/weights.py mnist-5k runs/digits --data-license "MNIST (LeCun, Cortes and Burges), CC BY-SA 3.0"

A new name also needs a path in gan_zoo/weights/__init__.py and a line in gan_zoo/registry.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from gan_zoo.analysis.evaluate import evaluate
from gan_zoo.export.write import export
from gan_zoo.files import atomic_folder, write, write_json
from gan_zoo.registry import weights
from gan_zoo.terminal import silent

SHIPPED = Path(__file__).parents[1] / "gan_zoo" / "weights"
SAMPLES = 5000
EVALUATION = "evaluation.json"


def ship(name: str, run: Path, data_license: str) -> Path:
    """Export a run as the weights `name`, with figures; replaces what is there.

    Args:
        name: The weights' name.
        run: A run folder, one of its checkpoints, or an export.
        data_license: Origin and licence of the data.
    """
    with TemporaryDirectory() as place:
        settings = {"name": name, "precision": "int8", "data_license": data_license, "pictures": False}
        with silent():
            unmeasured = export(run, Path(place) / "unmeasured", **settings)
        (result,) = evaluate([unmeasured], n=SAMPLES, device=torch.device("cpu"))
        write_json({"measurements": result["measurements"]}, unmeasured / EVALUATION)
        measured = export(unmeasured, Path(place) / name, **settings)
        files = {path.name: path.read_bytes() for path in (*measured.iterdir(), unmeasured / EVALUATION)}
    with atomic_folder(SHIPPED / name) as partial:
        for file, content in files.items():
            write(partial / file, content)
    return SHIPPED / name


def main() -> None:
    """Parse the command line and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", help="the weights' name")
    parser.add_argument("run", type=Path, help="a run folder, a checkpoint or an export")
    parser.add_argument("--data-license", default="", help="origin and licence of the data, in words")
    options = parser.parse_args()
    print(ship(options.name, options.run, options.data_license))
    if options.name not in weights.entries:
        print(f"{options.name} is not registered yet: see gan_zoo/registry.py")


if __name__ == "__main__":
    main()
