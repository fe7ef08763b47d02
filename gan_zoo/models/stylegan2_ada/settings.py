"""StyleGAN2-ADA's defaults. No torch here."""

from __future__ import annotations

from gan_zoo.models.stylegan2.settings import StyleGAN2Recipe


class StyleGAN2ADARecipe(StyleGAN2Recipe):
    """What StyleGAN2-ADA adds to the configuration; its table is StyleGAN2's."""

    defaults = {
        **StyleGAN2Recipe.defaults,
        "data": {
            "augment": "flip, shift:0.125, scale, rotate, brightness:0.2, contrast:0.5, saturation",
            "augment_target": 0.6,
        },
    }
    extends = "stylegan2"
    preset = ""  # its augmentation does not suit digits
