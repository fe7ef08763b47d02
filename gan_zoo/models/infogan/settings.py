"""InfoGAN's table of the configuration. No torch here."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from gan_zoo.config import Count, Norm, Positive, Rate, Recipe, Settings, Share, Weight
from gan_zoo.models.gan.codes import parse_codes


def _parsable(text: str) -> str:
    parse_codes(text)
    return text


class InfoGANSettings(Settings):
    """Codes, Q head and information term."""

    codes: Annotated[str, AfterValidator(_parsable)] = "categorical:10, uniform:2"
    """The latent codes: categorical:K, categorical:KxN, uniform:N, gaussian:N, bernoulli:N, bernoulli(p):N.
    `uniform:1@0.05` sets λ of these codes alone."""
    conditional: bool = False
    """Whether G and D are conditioned on the data's labels, as projection-gan's are: the codes then vary within a
    class. The label is one more code, which Q reads too."""
    lambda_discrete: Weight = 1.0
    """λ of categorical and bernoulli codes."""
    lambda_continuous: Weight = 0.1
    """λ of uniform and gaussian codes: smaller, so that the term stays on the scale of the adversarial loss."""
    prior: Literal["uniform", "learned"] = "uniform"
    """P(c) of categorical codes: uniform, or learned for unequal classes (Ojha et al., 2020, Elastic-InfoGAN)."""
    prior_lr: Rate = 0.01
    """Learning rate of the learned prior's logits."""
    prior_delay: Count = 0
    """Steps before the learned prior is updated: codes must have a meaning before their frequencies do."""
    prior_floor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the uniform distribution in the learned prior, so that every value keeps some probability."""
    prior_match: Weight = 1.0
    """Weight of KL(mean of Q(c | x) over real images ‖ P(c)), which moves the learned prior, not Q."""
    temperature: Rate = 0.5
    """Softmax temperature of the learned prior's straight-through gradient (Jang et al., 2017)."""
    variance: Literal["fixed", "constant", "learned"] = "fixed"
    """Variance σ² of Q for continuous codes. fixed: their gradients are those of a variance of 1, as in the paper's
    code. constant: one number for each code, Q's mean squared error, so gradients grow as 1/σ². learned: a function
    of the image. L_I of a code is computed with the variance, with `fixed` too with the mean squared error."""
    log_variance_min: Annotated[float, Field(ge=-20, le=20)] = -8.0
    """Lower bound of log σ², and with `constant` of how much gradients grow."""
    log_variance_max: Annotated[float, Field(ge=-20, le=20)] = 4.0
    """Upper bound of log σ²."""
    trains: Literal["generator+q+trunk", "generator+q", "q"] = "generator+q+trunk"
    """What the information term trains; with q, only the head is trained (fig. 1's plain GAN)."""
    consistency: Weight = 0.0
    """Weight of the agreement of Q's categorical codes on an image and a warped copy (data.warp); 0 disables
    it, as in the paper. Ignored without categorical codes."""
    consistency_steps: Count = 0
    """Steps with this weight, in which the codes settle; 0: all steps."""
    consistency_after: Weight = 0.0
    """Weight of the consistency term after `consistency_steps`."""
    spread: Weight = 4.0
    """Weight, within the consistency term, of the entropy of a batch's mean code: it favours using every value."""
    consistency_share: Share = 1.0
    """Share of a batch that is compared with warped copies; the spread is always the whole batch's."""
    head_width: Positive = 128
    """Hidden units of the Q head."""
    head_norm: Norm = "batch"
    """Normalisation in the Q head."""

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if self.prior == "learned" and not any(code.kind == "categorical" for code in parse_codes(self.codes)):
            raise ValueError(f"prior = 'learned' requires a categorical code; codes = {self.codes!r} has none")
        return self

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.log_variance_min >= self.log_variance_max:
            raise ValueError(
                f"log_variance_min must be below log_variance_max, not {self.log_variance_min:g} and "
                f"{self.log_variance_max:g}"
            )
        return self


class InfoGANRecipe(Recipe):
    """What InfoGAN adds to the configuration."""

    defaults = {}
    settings = InfoGANSettings
    networks: ClassVar[tuple[str, ...]] = ("codes", "conditional", "prior", "variance", "head_width", "head_norm")
