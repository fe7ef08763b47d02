"""InfoGAN's own table of the configuration. No torch here."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from gan_zoo.config import Norm, Positive, Settings, Weight
from gan_zoo.models.gan.codes import parse_codes


def _parsable(text: str) -> str:
    parse_codes(text)
    return text


class InfoGANSettings(Settings):
    """Codes, Q head and information term."""

    codes: Annotated[str, AfterValidator(_parsable)] = "categorical:10, uniform:2"
    """The latent codes: categorical:K, categorical:KxN, uniform:N, gaussian:N, bernoulli:N, bernoulli(p):N."""
    lambda_discrete: Weight = 1.0
    """λ of categorical and bernoulli codes."""
    lambda_continuous: Weight = 0.1
    """λ of uniform and gaussian codes: smaller, so that the term stays on the scale of the game."""
    variance: Literal["fixed", "learned"] = "fixed"
    """Variance of Q for continuous codes: fixed to 1 as in the paper's own code, or learned within bounds."""
    log_variance_min: Annotated[float, Field(ge=-20, le=20)] = -8.0
    """Least log-variance of Q."""
    log_variance_max: Annotated[float, Field(ge=-20, le=20)] = 4.0
    """Greatest log-variance of Q."""
    trains: Literal["generator+q+trunk", "generator+q", "q"] = "generator+q+trunk"
    """What the information term trains; with q alone the head only watches (fig. 1's plain GAN)."""
    consistency: Weight = 0.0
    """Weight of the agreement of Q on a real image and on a warped copy (see data.warp); 0 is the paper's InfoGAN."""
    spread: Weight = 4.0
    """Weight, within the consistency term, of the entropy of a batch's mean code: all its values are to be used."""
    head_width: Positive = 128
    """Hidden units of the Q head."""
    head_norm: Norm = "batch"
    """Normalisation in the Q head."""

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.log_variance_min >= self.log_variance_max:
            raise ValueError(
                f"log_variance_min must be below log_variance_max, not {self.log_variance_min:g} and "
                f"{self.log_variance_max:g}"
            )
        return self
