"""The grid of the suite `step`: networks, batch sizes, number formats, modes, and the models to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from gan_zoo.config import Config
from gan_zoo.errors import InputError, unknown
from gan_zoo.resolve import resolve
from gan_zoo.training.precision import pick_precision

CODES = "categorical:10, uniform:2"
WARP = "rotate:0.2, scale:0.1, shift:0.05, shear:0.4, height:0.2, elastic:0.04"
MODES: dict[str, dict[str, Any]] = {
    "eager": {"training.cuda_graph": "off"},
    "compiled": {"training.cuda_graph": "off", "training.compile": True},
    "graph": {"training.cuda_graph": "on"},
    "graph, compiled": {"training.cuda_graph": "on", "training.compile": True},
}
Cases = dict[str, tuple[str, dict[str, Any]]]
"""Model and settings of each case, by name."""
CASES: Cases = {"gan": ("gan", {}), "infogan": ("infogan", {})}
"""The two cases of every cell."""
VARIANTS: Cases = {
    "infogan, channels last": ("infogan", {"training.channels_last": True}),
    "gan, simultaneous": ("gan", {"training.update": "simultaneous"}),
    "infogan, simultaneous": ("infogan", {"training.update": "simultaneous"}),
    "infogan, consistency": ("infogan", {"infogan.consistency": 1.0, "data.warp": WARP}),
    "infogan, consistency of a third": (
        "infogan",
        {"infogan.consistency": 1.0, "infogan.consistency_share": 0.334, "data.warp": WARP},
    ),
}
"""Further cases of the full grid's cells at `PAPER`."""
RECIPE = "infogan, consistency"
"""The case of the default preset."""


@dataclass(frozen=True)
class Workload:
    """A cell of the grid."""

    trunk: str
    resolution: int
    batch: int
    precision: str
    mode: str = "eager"

    @property
    def key(self) -> dict[str, str | int]:
        """The cell's key in a report."""
        return asdict(self)

    def config(self, model: str, settings: Mapping[str, Any], device: torch.device) -> Config:
        """The configuration of a case. The plain GAN's noise is as wide as InfoGAN's noise and codes."""
        noise = {"latent.noise": 62, "infogan.codes": CODES} if model == "infogan" else {"latent.noise": 74}
        colours = 1 if self.trunk == "infogan-mnist" else 3
        norm = "none" if self.trunk in ("r3gan", "stylegan2") else "batch"
        shared = {
            "trunk.name": self.trunk,
            "trunk.generator_norm": norm,
            "trunk.discriminator_norm": norm,
            "latent.distribution": "uniform",
            "data.name": "mnist-5k",
            "data.resolution": self.resolution,
            "data.channels": colours,
            "training.batch_size": self.batch,
            "training.precision": self.precision,
            "training.device": str(device),
        }
        return resolve(model, {}, {**shared, **noise, **MODES[self.mode], **settings})


PAPER = Workload("infogan-mnist", 28, 128, "fp32")
"""The paper's network for digits and its batch (Chen et al., 2016, appendix C.1)."""
COLOUR = Workload("dcgan", 64, 128, "fp32")
"""The quick grid's other network on a GPU."""


def grid(device: torch.device, *, quick: bool) -> list[Workload]:
    """Every trunk, resolution, precision and mode at its first batch size; `step` adds larger ones if faster."""
    best = pick_precision("auto", device)
    if quick and device.type == "cuda":
        return [
            replace(workload, precision=best, mode=mode)
            for mode in ("graph", "graph, compiled")  # compiling takes most of the time
            for workload in (PAPER, COLOUR)
        ]
    if quick:
        return [replace(PAPER, precision=precision) for precision in dict.fromkeys(("fp32", best))]
    trunks = [
        (PAPER.trunk, PAPER.resolution, PAPER.batch),
        *(("dcgan", 32, 64), ("dcgan", 64, 32), ("resnet", 32, 8), ("r3gan", 32, 8), ("stylegan2", 32, 8)),
    ]
    modes = [mode for mode in MODES if device.type == "cuda" or "graph" not in mode]
    precisions = dict.fromkeys(("fp32", best, *(("fp16",) if device.type == "cuda" else ())))
    return [Workload(*trunk, precision, mode) for mode in modes for trunk in trunks for precision in precisions]


def choose(workloads: Sequence[Workload], chosen: Mapping[str, Sequence[str]]) -> list[Workload]:
    """The workloads with the `chosen` values of each field; an empty sequence selects all.

    Raises:
        InputError: If no workload has a value, or none has all.
    """
    for field, values in chosen.items():
        accepted = list(dict.fromkeys(str(getattr(workload, field)) for workload in workloads))
        for value in values:
            if value not in accepted:
                raise unknown(f"{field} of this grid", value, accepted)
    matching = [w for w in workloads if all(getattr(w, field) in values for field, values in chosen.items() if values)]
    if not matching:
        raise InputError("nothing is left to measure: these choices have no cell of the grid in common")
    return matching
