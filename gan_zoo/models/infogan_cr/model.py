"""InfoGAN-CR: InfoGAN with the contrastive regulariser (Lin et al., 2020, arXiv:1906.06034, section 3)."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager

import torch
from gan_zoo_kernels import cross_entropy
from torch import Tensor, nn

from gan_zoo.config import Config, TrunkSettings, table_name
from gan_zoo.draws import Draws
from gan_zoo.errors import InputError
from gan_zoo.models.gan.model import Mean, Objective, StepTensors
from gan_zoo.models.gan.prior import Latents
from gan_zoo.models.infogan.model import InfoGAN
from gan_zoo.models.infogan_cr.pairs import couple
from gan_zoo.models.infogan_cr.settings import InfoGANCRRecipe, InfoGANCRSettings
from gan_zoo.shapes import ImageShape
from gan_zoo.trunks.layers import spectral
from gan_zoo.trunks.trunk import trunk_of


class PairNetwork(nn.Module):
    """H, which classifies the code that two images share: a discriminator trunk and a linear head.

    Args:
        image: Shape of one image.
        codes: The number of codes.
        settings: Of the trunk.
    """

    def __init__(self, image: ImageShape, codes: int, settings: TrunkSettings) -> None:
        super().__init__()
        pair = ImageShape(2 * image.channels, image.resolution)
        self.trunk = trunk_of(settings).discriminator(pair, settings)
        self.head = spectral(nn.Linear(self.trunk.width, codes), settings.spectral_norm)

    def forward(self, pairs: Tensor) -> Tensor:
        """Pairs [n, 2C, R, R], one image's channels after the other's, to logits [n, codes]."""
        logits: Tensor = self.head(self.trunk(pairs))
        return logits


class InfoGANCR(InfoGANCRRecipe, InfoGAN):
    """min_{G,Q,H} max_D V(D, G) - λ L_I(G, Q) - α L_c(G, H), L_c = E[log H_i(x, x')] for a pair that shares code i.

    Each step generates half as many pairs as the batch has rows, so that a pass over pairs is as large as one over the
    batch: once in D's step, which trains H, and again in G's. The images of a pair share their noise, as in the
    authors' code, so that they differ by their codes alone. Pairs reach neither D nor the generator's running
    statistics. When the gap changes, H keeps its weights; the authors reset it (Lin et al., 2020, arXiv:1906.06034).
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        settings: InfoGANCRSettings = self.model_settings(config)
        self.contrast, self.contrast_after = settings.contrast, settings.contrast_after
        self.contrast_gap, self.contrast_gap_after = settings.contrast_gap, settings.contrast_gap_after
        self.h: PairNetwork | None = None
        if not self.contrast:
            return
        key = f"{table_name(config.model)}.contrast = {self.contrast:g}"
        if len(self.codes) < 2:
            raise InputError(f"{key} requires at least 2 codes, and codes = {settings.codes!r}")
        narrower = {"width": settings.contrast_width, "widths": (), "cardinality": ()}
        trunk = config.trunk.model_copy(update=narrower if settings.contrast_width else {})
        self.h = PairNetwork(self.image, len(self.codes), trunk)

    def notes(self) -> list[str]:
        """InfoGAN's, and whether the regulariser will not start."""
        lines, steps = super().notes(), self.config.training.steps
        if self.h and self.contrast_after >= steps:
            key = f"{table_name(self.config.model)}.contrast_after = {self.contrast_after}"
            lines.append(
                f"{key}: the regulariser does not start in the {steps} steps of the run, which is plain InfoGAN"
            )
        return lines

    def phase(self, step: int) -> Hashable:
        """Whether the regulariser is active, and its gap."""
        active = self.contrasting(step) is not None
        return active, self.gap(step) if active else 0.0, super().phase(step)

    def contrasting(self, step: int) -> PairNetwork | None:
        """H, if the regulariser is active in step `step`."""
        return self.h if step >= self.contrast_after else None

    def gap(self, step: int) -> float:
        """The minimal distance of the continuous codes that a pair does not share, in step `step`."""
        over = self.contrast_gap_after is not None and step >= self.contrast_gap_after
        return 0.0 if over else self.contrast_gap

    def configure_batches(self, rows: int, gradient_accumulation: int, over_ranks: Mean) -> None:
        """As InfoGAN's; pairs are made within a micro-batch.

        Raises:
            InputError: If its rows do not make at least two pairs.
        """
        super().configure_batches(rows, gradient_accumulation, over_ranks)
        whole = rows == self.config.training.batch_size
        if self.h and (rows < 4 or (rows % 2 and not whole)):
            raise InputError(
                f"{table_name(self.config.model)}.contrast requires micro-batches of "
                f"{'4 images or more' if whole else 'an even number of images, 4 or more'}; training.batch_size = "
                f"{self.config.training.batch_size} gives {rows}"
            )

    def pairs(self, latents: Latents, random: Draws) -> tuple[Tensor, Tensor]:
        """Pairs of images [n // 2, 2C, R, R], and the index of the code that each pair shares, int64 [n // 2].

        Pair i is made from rows 2i and 2i + 1 of `latents`, so that micro-batches make the pairs of the whole batch.
        All codes are shared about equally often.
        """
        count = len(latents.codes) // 2
        first, second = latents.codes[: 2 * count : 2], latents.codes[1::2]
        turn = random.common(len(self.codes)) + random.first_row // 2
        shared = (torch.arange(count, device=first.device) + turn) % len(self.codes)
        members = couple(first, second, shared, self.codes, gap=self.gap(latents.step), random=random)
        noise = latents.input[: 2 * count : 2, : self.prior.noise]
        with running_statistics_kept(self.generator):
            images = self.generator(torch.cat([self.prior.compose(noise, codes).input for codes in members]))
        return torch.cat(images.float().chunk(2), 1), shared

    def discriminator_objective(self, step: StepTensors) -> Objective:
        """InfoGAN's minus α L_c: trains H."""
        objective = super().discriminator_objective(step)
        if (h := self.contrasting(step.latents.step)) is not None:
            with torch.no_grad():
                pairs, shared = self.pairs(step.latents, step.random)
            logits = h(pairs)
            nll = cross_entropy(logits, shared)
            objective.terms["discriminator/contrast"] = self.contrast * nll
            accuracy = (logits.detach().argmax(1) == shared).float().mean()
            objective.metrics |= {"contrast_nll": nll.detach(), "contrast_accuracy": accuracy}
        return objective

    def generator_objective(self, step: StepTensors) -> Objective:
        """InfoGAN's minus α L_c."""
        objective = super().generator_objective(step)
        if (h := self.contrasting(step.latents.step)) is not None:
            pairs, shared = self.pairs(step.latents, step.random)
            objective.terms["generator/contrast"] = self.contrast * cross_entropy(h(pairs), shared)
        return objective


@contextmanager
def running_statistics_kept(module: nn.Module) -> Iterator[None]:
    """A context in which batch norms use the batch's statistics and do not update the running ones."""
    recording = [
        m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats
    ]
    for norm in recording:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in recording:
            norm.track_running_stats = True
