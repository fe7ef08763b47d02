"""Commands on the library itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from gan_zoo.cli.types import Json

if TYPE_CHECKING:
    import torch


def new(what: Positional[Literal["model"]], name: Positional[str], /, out: Path = Path()) -> None:
    """Write the skeleton of a plug-in: a distribution with a model, its entry point and its test.

    Args:
        what: model.
        name: The model's name, e.g. my-gan.
        out: Where to create the folder gan_zoo_NAME.

    Examples:
        gan-zoo new model my-gan
    """
    from gan_zoo.skeleton import new_model

    folder = new_model(name, out)
    print(f"{folder}: try it with")
    print(f"  pip install --editable {folder} && gan-zoo train {name} --steps 20 && pytest {folder}")


def doctor(*, json: Json = False) -> None:
    """Show versions, devices, number formats, and which kernels each device uses and why."""
    import platform

    import torch

    from gan_zoo.cli.console import console, print_json
    from gan_zoo.training.environment import PACKAGES, version_of
    from gan_zoo.training.precision import kernel_path

    devices = {"cpu": f"{platform.machine()}, {torch.get_num_threads()} threads"}
    devices |= {f"cuda:{k}": torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())}
    choices = {device: kernel_path(torch.device(device)) for device in devices}
    record: dict[str, Any] = {
        "python": platform.python_version(),
        "packages": {name: version_of(name) or "not installed" for name in PACKAGES},
        "devices": devices,
        "precisions": {device: _precisions(torch.device(device)) for device in devices},
        "kernels": {device: f"{choice.path}: {choice.reason}" for device, choice in choices.items()},
    }
    if json:
        print_json(record)
        return
    console.print(f"python {record.pop('python')}")
    for title, values in record.items():
        console.print(f"{title}:")
        for name, value in values.items():
            console.print(f"  {name}: {', '.join(value) if isinstance(value, list) else value}")


def _precisions(device: torch.device) -> list[str]:
    """The number formats in which a small product can be computed and differentiated on a device."""
    import torch

    formats = ["fp32"]
    for name, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        try:
            a = torch.ones(8, 8, device=device, requires_grad=True)
            with torch.autocast(device.type, dtype=dtype):
                (a @ a).sum().backward()
        except RuntimeError:
            continue
        formats.append(name)
    return formats
