"""InfoGAN-CR's table of the configuration: InfoGAN's, and the contrastive regulariser. No torch here."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from gan_zoo.config import Count, Positive, Weight
from gan_zoo.models.infogan.settings import InfoGANRecipe, InfoGANSettings


class InfoGANCRSettings(InfoGANSettings):
    """Codes, Q head, information term and contrastive regulariser."""

    contrast: Weight = 2.0
    """α, weight of the contrastive regulariser, as on dSprites (3 on teapots, 1 on CelebA); 0 gives plain InfoGAN."""
    contrast_after: Count = 0
    """Steps before the regulariser starts (288,000 of 322,560 on dSprites)."""
    contrast_gap: Annotated[float, Field(ge=0, lt=2)] = 0.0
    """Minimum distance between the unshared continuous codes of a pair; uniform codes span 2 (1.9 on teapots, 0 on
    dSprites and CelebA)."""
    contrast_gap_after: Count | None = None
    """Steps after which the gap is 0 (85,000 on teapots); by default it is kept to the end."""
    contrast_width: Positive | None = None
    """Width of the network that predicts which code a pair shares; defaults to trunk.width."""

    @model_validator(mode="after")
    def _gap_in_time(self) -> Self:
        after = self.contrast_gap_after
        if self.contrast and self.contrast_gap and after is not None and after <= self.contrast_after:
            raise ValueError(
                f"contrast_gap_after = {after} must be above contrast_after = {self.contrast_after}: a gap that ends "
                "before the regulariser starts is never used"
            )
        return self


class InfoGANCRRecipe(InfoGANRecipe):
    """What InfoGAN-CR adds to the configuration."""

    settings = InfoGANCRSettings
    extends = "infogan"
    networks = (*InfoGANRecipe.networks, "contrast_width")
