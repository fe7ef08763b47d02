"""InfoGAN: min_{G,Q} max_D V(D, G) - λ L_I(G, Q) (Chen et al., 2016, arXiv:1606.03657, eq. 6)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import torch
from gan_zoo_kernels import at_variances, q_head_nll, record_variances
from torch import Tensor

from gan_zoo.config import Config, table_name
from gan_zoo.data.augment import parse_augment
from gan_zoo.draws import Draws
from gan_zoo.errors import InputError
from gan_zoo.models.gan.codes import Code, label_code, parse_codes
from gan_zoo.models.gan.discriminator import DiscriminatorOutput
from gan_zoo.models.gan.model import (
    GAN,
    LearningRateSchedule,
    Mean,
    Objective,
    StepTensors,
    alone,
    evaluating,
)
from gan_zoo.models.gan.prior import Latents, Prior
from gan_zoo.models.infogan.consistency import consistency, mismatch
from gan_zoo.models.infogan.learned_prior import LearnedPrior
from gan_zoo.models.infogan.q_head import Posterior, QHead, posteriors, q_layout
from gan_zoo.models.infogan.settings import InfoGANRecipe, InfoGANSettings
from gan_zoo.trunks.layers import in_lots

VARIANCE_MOMENTUM = 0.02
"""The share of a batch in Q's constant variances."""


class InfoGAN(InfoGANRecipe, GAN):
    """The GAN with codes in its prior, a head Q on its trunk, and the information term in both objectives.

    The term uses the features of the adversarial losses, without an additional pass (Chen et al., 2016,
    arXiv:1606.03657).
    """

    entropy: Tensor  # H(c) of each code, nats
    weights: Tensor  # λ of each code

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        settings: InfoGANSettings = self.model_settings(config)
        self.trains = settings.trains
        self.consistency, self.spread = settings.consistency, settings.spread
        self.consistency_steps, self.consistency_after = settings.consistency_steps, settings.consistency_after
        self.consistency_share = settings.consistency_share
        self.prior_match = settings.prior_match
        self.prior_schedule = LearningRateSchedule(settings.prior_lr, settings.prior_delay)
        self.warp = parse_augment(config.data.warp, "data.warp")
        if self.consistency and not self.warp:
            raise InputError(
                f"{table_name(config.model)}.consistency = {self.consistency:g} needs warped copies of images, and "
                "data.warp is empty; set it to warps that keep their meaning, such as rotate:0.2, or the weight to 0"
            )
        self.layout = q_layout(self.codes, settings.variance, (settings.log_variance_min, settings.log_variance_max))
        self.q = QHead(
            self.discriminator.trunk.width,
            self.layout,
            hidden=settings.head_width,
            norm_kind=settings.head_norm,
            codes=self.codes,
        )
        self.unit_gradient, self.variance_momentum = settings.variance == "fixed", VARIANCE_MOMENTUM
        of_kind = {True: settings.lambda_discrete, False: settings.lambda_continuous}
        weights = [of_kind[code.discrete] if code.weight is None else code.weight for code in self.codes]
        self.register_buffer("entropy", torch.tensor([c.entropy for c in self.codes]), persistent=False)
        self.register_buffer("weights", torch.tensor(weights), persistent=False)

    def configure_batches(self, rows: int, gradient_accumulation: int, over_ranks: Mean) -> None:
        """As the GAN's; the mean code of a batch and a learned prior's mean are taken over all ranks.

        Raises:
            InputError: If such a mean is needed and gradients accumulate over micro-batches.
        """
        super().configure_batches(rows, gradient_accumulation, over_ranks)
        self.variance_momentum = VARIANCE_MOMENTUM / gradient_accumulation
        if gradient_accumulation == 1:
            return
        table = table_name(self.config.model)
        if self.learned:
            key, otherwise = f"{table}.prior = 'learned'", f"{table}.prior to 'uniform'"
        elif self.compares and self.spread:
            key, otherwise = f"{table}.spread = {self.spread:g}", f"{table}.spread to 0"
        else:
            return
        raise InputError(
            f"training.accumulate = {gradient_accumulation}: {key} needs the mean code of the whole batch, and a "
            f"micro-batch has only its own; set training.accumulate to 1, or {otherwise}"
        )

    def notes(self) -> list[str]:
        """The GAN's, and what will not happen in so few steps."""
        lines, delay, steps = super().notes(), self.prior_schedule.start, self.config.training.steps
        table = table_name(self.config.model)
        if self.learned and delay >= steps:
            lines.append(f"{table}.prior_delay = {delay}: the prior does not learn in the {steps} steps of the run")
        if self.compares and self.consistency_steps >= steps:
            key = f"{table}.consistency_steps = {self.consistency_steps}"
            lines.append(f"{key}: the consistency term does not fade in the {steps} steps of the run")
        return lines

    @classmethod
    def codes_of(cls, config: Config) -> Sequence[Code]:
        """The codes of the setting `codes`, then the label if both networks are conditioned on it."""
        settings: InfoGANSettings = cls.model_settings(config)
        codes = parse_codes(settings.codes)
        if not settings.conditional:
            return codes
        return (*codes, label_code(f"{table_name(config.model)}.conditional", config.data, conditions=True))

    @classmethod
    def prior_of(cls, config: Config, codes: Sequence[Code]) -> Prior:
        """P(z) P(c), by the setting `infogan.prior`."""
        settings: InfoGANSettings = cls.model_settings(config)
        if settings.prior == "uniform":
            return super().prior_of(config, codes)
        latent = config.latent
        return LearnedPrior(
            latent.noise, latent.distribution, codes, floor=settings.prior_floor, temperature=settings.temperature
        )

    @property
    def schedules(self) -> Mapping[str, LearningRateSchedule]:
        """The learning rate and start of a learned prior."""
        return {name: self.prior_schedule for name, _ in self.named_parameters() if name.startswith("prior.")}

    @property
    def learned(self) -> LearnedPrior | None:
        """The prior, if it is learned."""
        return self.prior if isinstance(self.prior, LearnedPrior) else None

    def entropies(self) -> Tensor:
        """H(c) of each code in nats: constants, or functions of a learned prior's logits."""
        return self.entropy if self.learned is None else self.learned.entropies(self.entropy)

    def information(
        self, features: Tensor, latents: Latents, *, hold_prior: bool = False, recording: bool = False
    ) -> Tensor:
        """L_I by code, in nats: E[log Q(c | x)] + H(c) ≤ I(c; x) (eq. 5).

        Args:
            features: Of generated images, [n, trunk width].
            latents: What they were generated from.
            hold_prior: Whether a learned prior gets no gradient.
            recording: Whether Q's constant variances are updated; the result has those from before.
        """
        parameters = self.q(features)
        nll = q_head_nll(parameters, latents.codes, self.layout)
        log_likelihood = -at_variances(nll, self.q.variances)
        if recording:
            record_variances(nll, self.layout, self.q.variances, self.variance_momentum)
        if self.learned is None or hold_prior:
            return self.entropies().detach() + log_likelihood
        score = self.learned.score(parameters, latents.codes, self.layout, self.over_ranks)
        return self.entropies() + log_likelihood + score

    def information_loss(
        self, features: Tensor, latents: Latents, *, hold_prior: bool = False, recording: bool = False
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """-Σ λ_i L_I(c_i), which both networks minimise (eq. 6), and L_I by code with their sum last, detached.

        The arguments are those of `information`, which defines the result. A fused Q head computes it in a few
        launches, but without the gradient of a learned prior.
        """
        # A subclass that overrides either defines the term.
        not_overridden = type(self).information is InfoGAN.information and type(self.q) is QHead
        if not_overridden and (self.learned is None or hold_prior) and self.q.fuses(features):
            loss, bounds = self.q.information(
                features,
                latents.codes,
                self.entropies().detach(),
                self.weights,
                unit_gradient=self.unit_gradient,
                variance_momentum=self.variance_momentum if recording else 0.0,
            )
            return loss, bounds.unbind()
        weights = self.weights * self.q.variances if self.unit_gradient else self.weights
        bound = self.information(features, latents, hold_prior=hold_prior, recording=recording)
        values = bound.detach()
        return -torch.dot(weights, bound), (*values.unbind(), values.sum())

    def seen(self, features: Tensor) -> Tensor:
        """Features for Q in D's step: detached unless Q's terms train the trunk."""
        return features if self.trains == "generator+q+trunk" else features.detach()

    @property
    def compares(self) -> bool:
        """Whether there is a consistency term."""
        return bool(self.consistency) and any(code.kind == "categorical" for code in self.codes)

    def consistency_in(self, step: int) -> float:
        """The weight of the consistency term in step `step`."""
        faded = self.consistency_steps and step >= self.consistency_steps
        return self.consistency_after if faded else self.consistency

    def phase(self, step: int) -> Hashable:
        """The weight of the consistency term."""
        return self.consistency_in(step) if self.compares else super().phase(step)

    def additional_images(self, real: Tensor, latents: Latents, random: Draws) -> tuple[Tensor, ...]:
        """Warped copies of the reals, or of a share of them, for the consistency term."""
        if not self.compares or not self.consistency_in(latents.step):
            return ()
        return (self.warp(real.detach()[: math.ceil(self.consistency_share * len(real))], random),)

    def inconsistency(self, real: DiscriminatorOutput, warped: DiscriminatorOutput) -> Tensor:
        """The consistency term, unweighted; see `consistency`."""
        log_priors = [p.detach() for p in self.learned.log_probabilities()] if self.learned else None
        of_real, of_warped = in_lots(self.q, self.seen(real.features), self.seen(warped.features))
        over_ranks = None if self.over_ranks is alone else self.over_ranks
        return consistency(
            of_real, of_warped, self.layout, spread=self.spread, log_priors=log_priors, over_ranks=over_ranks
        )

    def discriminator_objective(self, step: StepTensors) -> Objective:
        """The GAN's minus λ L_I: trains Q, and the trunk unless the features are detached."""
        objective = super().discriminator_objective(step)
        features = self.seen(step.fake.features)
        loss, bounds = self.information_loss(features, step.latents, hold_prior=True, recording=True)
        if self.over_ranks is not alone:
            self.q.variances.copy_(self.over_ranks(self.q.variances))
        objective.terms["discriminator/information"] = loss
        for warped in step.additional:
            weight = self.consistency_in(step.latents.step)
            objective.terms["discriminator/consistency"] = weight * self.inconsistency(step.real, warped)
        names = *(f"mi/{code.name}" for code in self.codes), "mi"
        objective.metrics |= dict(zip(names, bounds, strict=True))
        entropies = zip(self.codes, self.entropies().detach().unbind(), strict=True)
        objective.metrics |= {f"entropy/{code.name}": entropy for code, entropy in entropies if code.discrete}
        for name, probabilities in self.prior.probabilities().items():
            extremes = probabilities.detach().aminmax()
            objective.metrics |= {f"prior/{name}/least": extremes.min, f"prior/{name}/greatest": extremes.max}
        return objective

    def generator_objective(self, step: StepTensors) -> Objective:
        """The GAN's minus λ L_I, plus the term that fits a learned prior to Q's codes of the reals."""
        objective = super().generator_objective(step)
        if self.trains != "q":
            objective.terms["generator/information"] = self.information_loss(step.fake.features, step.latents)[0]
        if self.learned and self.prior_match:
            log_priors = self.learned.log_probabilities()
            divergence = mismatch(self.q(step.real.features), self.layout, log_priors, self.over_ranks)
            objective.terms["generator/prior"] = self.prior_match * divergence
        return objective

    def examine(self, images: Tensor) -> None:
        """The GAN's, with Q."""
        self.q(self.discriminator(images).features)

    @torch.no_grad()
    def encode(self, images: Tensor) -> dict[str, Posterior]:
        """Q(c | x) of images [n, C, H, W] in [-1, 1], by code.

        Args:
            images: A tensor or a numpy array of floats.

        Returns:
            For a categorical code its probabilities [n, K], for a bernoulli code P(c = 1) [n], for a continuous one
            its mean and log-variance [n].

        Raises:
            InputError: If the images are of another shape or type, or not in [-1, 1].
        """
        with evaluating(self):
            parameters = self.in_passes(
                lambda batch: self.q(self.discriminator.trunk(batch)), self.prepare_images(images)
            )
        return posteriors(parameters, self.q, self.codes)
