"""Animations as files: WebP and GIF by Pillow, MP4 by ffmpeg where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from gan_zoo.errors import InputError, quoted
from gan_zoo.files import atomic_file
from gan_zoo.images import ANIMATED, ENDINGS, MAKER, save_image

MOVING = (*ANIMATED, ".mp4")


def check_moving(path: Path) -> None:
    """Check that a file name ends like an animation's, and that there is an encoder for it.

    Raises:
        InputError: If it does not, or there is none.
    """
    if path.suffix.lower() not in MOVING:
        raise InputError(f"{path}: the name of an animation must end in {', '.join(MOVING)}")
    if path.suffix.lower() == ".mp4":
        _encoder(path)


def check_drawn(path: Path) -> None:
    """Check that a file name ends like a picture's or an animation's, and that there is an encoder for it.

    Raises:
        InputError: If it does not, or there is none.
    """
    if path.suffix.lower() in MOVING:
        check_moving(path)
    elif path.suffix.lower() not in ENDINGS:
        raise InputError(f"{path}: the name must end in {', '.join(ENDINGS)} or .mp4")


def save_animation(frames: Sequence[Image.Image], path: Path, milliseconds: int) -> Path:
    """Write an animation atomically; the suffix decides the format. WebP and GIF repeat endlessly.

    Args:
        frames: RGB pictures of one size.
        path: The file.
        milliseconds: Duration of a frame.

    Raises:
        InputError: If there is no encoder for it, or the encoder fails.
        OSError: If `path` cannot be written; nothing is left behind.
    """
    if path.suffix.lower() != ".mp4":
        grey = frames[0] == frames[0].convert("L").convert(frames[0].mode)
        return save_image(frames[0], path, append=frames[1:], milliseconds=milliseconds, lossless=grey)
    width, height = frames[0].size
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{1000 / milliseconds:g}"]
    even = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white", "-pix_fmt", "yuv420p"]  # what every player decodes
    with atomic_file(path) as partial:
        command = [_encoder(path), "-loglevel", "error", "-y", *given, "-i", "-", *even, "-crf", "16"]
        command += ["-movflags", "+faststart", "-metadata", f"comment={MAKER}", str(partial)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as encoder:
            _, errors = encoder.communicate(b"".join(frame.convert("RGB").tobytes() for frame in frames))
        if encoder.returncode:
            lines = errors.decode(errors="replace").strip().splitlines() or [f"exit code {encoder.returncode}"]
            raise InputError(f"{path}: ffmpeg failed: {quoted(lines[-1], 200)}; name a .webp or .gif instead")
    return path


def _encoder(path: Path) -> str:
    """The ffmpeg on the PATH, or else that of the package imageio-ffmpeg."""
    if program := shutil.which("ffmpeg"):
        return program
    if find_spec("imageio_ffmpeg"):
        from imageio_ffmpeg import get_ffmpeg_exe

        return str(get_ffmpeg_exe())
    raise InputError(
        f"{path}: an MP4 requires ffmpeg on the PATH, or an extra: pip install 'gan-zoo[video]'; .webp and .gif do not"
    )
