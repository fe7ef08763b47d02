"""gan-zoo: generative adversarial networks with shared trunks, losses and loop, and InfoGAN on top.

model = gan_zoo.create("infogan", codes="categorical:10, uniform:2")
run = gan_zoo.train("infogan", config="mnist-5k", steps=200)
model = gan_zoo.load(run.folder)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan_zoo.api import create, invert, load, load_latents, save_latents, train

__version__ = "0.1.0"
__all__ = ["__version__", "create", "invert", "load", "load_latents", "save_latents", "train"]


def __getattr__(name: str) -> Any:
    """Import torch only when a function that needs it is asked for."""
    if name in __all__:
        from gan_zoo import api

        return getattr(api, name)
    raise AttributeError(f"module 'gan_zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
