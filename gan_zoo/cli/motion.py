"""The command that draws animations of a walk through the latent space."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from gan_zoo.cli.draw import open_model
from gan_zoo.cli.types import Checkpoint, Count, Device, RunFolder, Seed, at


def walk(
    run: Positional[RunFolder],
    /,
    code: str | None = None,
    noise: Annotated[bool, arg(help="With --code: walk through the noise, too.")] = False,
    checkpoint: Checkpoint = None,
    out: Path | None = None,
    rows: Count = 4,
    seconds: float = 6.0,
    truncation: float = 1.0,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Animate a smooth, closed walk through the noise, through a code, or through both; several samples in a square.

    Args:
        code: A code to walk through, e.g. c2, with the noise fixed.
        out: Output animation (.webp, .gif, .mp4); defaults to walk.webp in the run's samples folder, or walk-c2.webp
            with --code c2. MP4 requires ffmpeg or the extra `video`.
        rows: Rows and columns of samples.
        seconds: Duration. A longer walk visits more noise.
        truncation: From 0 to 1: moves the noise towards its mean; see `gan-zoo sample`.
        seed: Seed of the noise and of the codes that are not varied.

    Examples:
        gan-zoo walk mnist-5k
        gan-zoo walk mnist-5k --code c2 --noise --seconds 12 --out turn.gif
    """
    from gan_zoo.analysis.traverse import pick_codes
    from gan_zoo.analysis.walk import MILLISECONDS, draw_walk
    from gan_zoo.animations import check_moving, save_animation
    from gan_zoo.cli.console import console

    name = "-".join(filter(None, ["walk", code, "noise" if code and noise else ""]))
    _, model, target = open_model(at(run, checkpoint), device, out, f"samples/{name}.webp", check_moving)
    frames = draw_walk(
        model,
        code=pick_codes(model, code)[0] if code else None,
        noise=noise or not code,
        rows=rows,
        seconds=seconds,
        seed=seed,
        truncation=truncation,
    )
    console.print(str(save_animation(frames, target, MILLISECONDS)))
