"""Loss curves of every model that the project ships, against those in tests/golden/.

`pytest tests/training/test_golden.py --update-golden` writes them anew; do so only where a change is meant to
change the losses, and say in the change why.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from narrow import narrow_train

from gan_zoo.registry import models

GOLDEN = Path(__file__).parents[1] / "golden"
STEPS = 8
# Processors sum in different orders: between torch's AVX-512, AVX2 and baseline kernels these curves differed by at
# most 4e-6. The tolerance leaves room for kernels not tried, and a changed formula shows in the first digits.
RTOL, ATOL = 1e-4, 1e-5
SMALL_STEPS = {"optimizer__generator_lr": 1e-5, "optimizer__discriminator_lr": 1e-5}
CALM = {"stylegan2": SMALL_STEPS, "stylegan2-ada": SMALL_STEPS}
"""Models with weights whose gradient is 0 but for rounding: Adam's first step moves them by the whole learning rate, to
one side or the other.
"""
SHIPPED = [name for name, entry in models.entries.items() if entry.origin == "gan-zoo"]


@pytest.fixture(autouse=True)
def one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("model", SHIPPED)
def test_losses_follow_the_golden_curve(model: str, tmp_path: Path, update_golden: bool) -> None:
    run = narrow_train(
        model, tmp_path, training__steps=STEPS, training__discriminator_steps=2, seed=1, **CALM.get(model, {})
    )
    names = {name for line in run.metrics() for name in line} - {"step", "images_per_second"}
    found = {name: [line.get(name) for line in run.metrics()] for name in sorted(names)}
    file = GOLDEN / f"{model}.json"
    if update_golden:
        GOLDEN.mkdir(exist_ok=True)
        rounded = {n: [v if v is None else float(f"{v:.6g}") for v in vs] for n, vs in found.items()}
        file.write_text("{\n" + ",\n".join(f'  "{n}": {json.dumps(vs)}' for n, vs in rounded.items()) + "\n}\n")
        return
    assert file.is_file(), f"no golden curve of {model}: pytest {Path(__file__).name} --update-golden"
    golden = json.loads(file.read_text())
    assert found.keys() == golden.keys()
    for name, curve in golden.items():
        expected = [v if v is None else pytest.approx(v, rel=RTOL, abs=ATOL) for v in curve]
        assert found[name] == expected, name


def test_no_golden_curve_is_left_over_from_a_model_that_is_gone() -> None:
    assert {file.stem for file in GOLDEN.glob("*.json")} == set(SHIPPED)
