"""Files of latents: noise and codes in safetensors, with the prior that they belong to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors

from gan_zoo.data.bounds import check_memory
from gan_zoo.errors import InputError, cut, first_line
from gan_zoo.files import atomic_file, utf8_name
from gan_zoo.models.gan.model import GAN
from gan_zoo.models.gan.prior import Latents, Prior

ENDING = ".safetensors"
FORMAT = "gan-zoo latents 1"


def describe_prior(prior: Prior) -> str:
    """The noise and the codes of a prior, e.g. `noise(uniform):62, c1 categorical:10, c2 uniform:1`."""
    names = ["", *(f"{code.name} " for code in prior.codes)]
    return ", ".join(map("".join, zip(names, prior.layout.spec.split("|"), strict=True)))


def save_latents(latents: Latents, model: GAN, path: Path | str, *, run: str = "", images: Sequence[str] = ()) -> Path:
    """Write latents [n] as a safetensors file, atomically, for `load_latents`.

    Args:
        latents: The latents.
        model: The model that they belong to.
        path: The file.
        run: Where the model comes from; information only.
        images: The names of the n images that they stand for; information only.

    Raises:
        OSError: If the file cannot be written.
    """
    noise = latents.input[:, : model.prior.noise].detach().float().cpu().contiguous()
    facts = {"format": FORMAT, "prior": describe_prior(model.prior), "model": model.config.model, "run": run}
    codes = latents.codes.detach().float().cpu().contiguous()
    content = to_safetensors({"noise": noise, "codes": codes}, facts | {"images": json.dumps(list(images))})
    with atomic_file(Path(path)) as partial:
        partial.write_bytes(content)
    return Path(path)


def load_latents(path: Path | str, model: GAN) -> Latents:
    """Read latents that `save_latents` or `gan-zoo invert` wrote.

    Returns:
        Latents for `model.generate`, on the CPU.

    Raises:
        InputError: If it is no such file, is damaged, or belongs to a model with other noise or codes.
    """
    path, prior = Path(path), model.prior
    try:
        with utf8_name(path) as name, safe_open(name, framework="pt") as file:
            facts = file.metadata() or {}
            if facts.get("format") != FORMAT:
                raise InputError(f"{path} has no latents that this release reads; gan-zoo invert writes such files")
            if (stored := facts.get("prior", "")) != (needed := describe_prior(prior)):
                raise InputError(f"{path} has latents of {cut(stored, 300)}; the model needs {needed}")
            check_memory(path.stat().st_size, str(path))
            noise, codes = file.get_tensor("noise"), file.get_tensor("codes")
    except (SafetensorError, OSError) as error:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise InputError(f"{path} {what}; a file of latents is needed, as gan-zoo invert writes") from None
        raise InputError(f"{path}: not readable as safetensors: {first_line(error)}") from None
    wrong_shape = noise.ndim != 2 or noise.shape[1] != prior.noise or codes.shape != (len(noise), len(prior.codes))
    if wrong_shape or not len(noise) or {noise.dtype, codes.dtype} != {torch.float32} or not noise.isfinite().all():
        raise InputError(f"{path} is damaged: its noise and codes do not have the shapes or values that they must have")
    columns = zip(prior.codes, codes.unbind(1), strict=True)
    try:
        prior.chosen(len(codes), {code.name: column for code, column in columns})
    except InputError as error:
        raise InputError(f"{path} is damaged: {error}") from None
    return prior.compose(noise, codes)
