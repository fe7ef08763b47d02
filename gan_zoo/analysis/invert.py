"""Inversion: noise z and codes c with G(z, c) ≈ x for images x that the generator did not draw.

Gradient descent in the generator's input (Zhu et al., 2016, arXiv:1609.03552; Creswell and Bharath, 2018,
arXiv:1802.05701), here from Q's reading of the codes and from several z.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_zoo.analysis.encode import encoder
from gan_zoo.errors import InputError
from gan_zoo.models.gan.codes import Code
from gan_zoo.models.gan.model import GAN, evaluating
from gan_zoo.models.gan.prior import SHOWN, Latents
from gan_zoo.models.infogan.q_head import Gaussian, Posterior

STEPS, STARTS = 100, 4
SEARCH = 0.25
"""The share of the steps after which the best start is chosen."""
FADING = 0.25
"""The share of the steps in which the step size falls to 0."""
LEARNING_RATE = 0.1
FEATURES, TYPICAL = 0.1, 0.02
"""Weights of the distance in features and of z's length; the distance in pixels has weight 1."""
LEAST = 0.02
"""A discrete code's second value is tried if Q gives it at least this probability."""

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Inversion:
    """What the generator needs to draw n given images.

    Attributes:
        latents: z and c, on the CPU; `Prior.with_codes` changes codes.
        images: G(z, c), float32 [n, C, H, W] in [-1, 1], on the CPU.
        rmse: [n], the root mean squared difference from the given image, in grey levels: 0 to 255.
    """

    latents: Latents
    images: Tensor
    rmse: Tensor


def invert(
    model: GAN,
    images: Tensor,
    *,
    steps: int = STEPS,
    starts: int = STARTS,
    codes: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Inversion:
    """Find z and c with G(z, c) ≈ x by Adam on z.

    The loss is the mean of (G(z, c) - x)² over pixels, plus 0.1 |f(G(z, c)) - f(x)|² / |f(x)|² with the features f of
    D's trunk, plus 0.02 times the mean of z² over its variance: codes keep their meaning best where z is no longer than
    samples of the prior. z stays in `Prior.within`.

    The codes are Q's most likely ones. One start has the second most likely values where Q is not certain; without Q,
    codes are drawn. Each image is inverted on its own: apart from rounding, neither the other images nor the size of a
    batch change the result.

    Args:
        model: A trained model; it is not changed.
        images: Floats [n, C, H, W] in [-1, 1], a tensor or a numpy array.
        steps: Steps of Adam.
        starts: Draws of z that each image starts from; a quarter of the steps decides which one is used.
        codes: Whether continuous codes are optimised, too, within the range that they were trained on.
        seed: Seed of the draws.
        progress: Called with the number of steps done, and of all steps.

    Raises:
        InputError: If the images have another shape or type, or are not in [-1, 1]; or for no steps or starts.
    """
    for name, number in (("steps", steps), ("starts", starts)):
        if number < 1:
            raise InputError(f"{name} must be at least 1, not {number}")
    if not len(images):
        raise InputError("there are no images to invert")
    batches = model.prepare_images(images).split(max(1, model.at_once // starts))
    parts: list[Latents] = []
    with evaluating(model):
        for batch in batches:
            search = _Search(model, batch.float(), starts, seed, codes)
            for step in range(steps):
                if step == int(SEARCH * steps):
                    search.keep_best()
                search.step(LEARNING_RATE * min(1.0, (1 - step / steps) / FADING))
                if progress:
                    progress(len(parts) * steps + step + 1, len(batches) * steps)
            parts.append(search.latents)
    latents = Latents.cat(parts)
    drawn = model.generate(latents).cpu()
    differences = (drawn - torch.cat(batches).float().cpu()).flatten(1)
    return Inversion(latents, drawn, 127.5 * differences.square().mean(1).sqrt())


class _Search:
    """Gradient descent on the latents of a batch of images, with several latents for each.

    Args:
        model: The model, in evaluation mode.
        images: Float32 [n, C, H, W].
        starts: Latents of each image.
        seed: Seed of their noise, which is the same for all images.
        codes: Whether continuous codes are optimised.
    """

    def __init__(self, model: GAN, images: Tensor, starts: int, seed: int, codes: bool) -> None:
        self.model, self.prior, self.starts = model, model.prior, starts
        self.dtype = next(model.parameters()).dtype
        drawn = self.prior.sample(starts, seed=seed, stream=SHOWN, device=images.device)
        self.noise = drawn.input[:, : self.prior.noise].float().repeat(len(images), 1)
        self.codes = starting_codes(model, images, drawn.codes)
        self.images = images.repeat_interleave(starts, 0)
        with torch.no_grad():
            self.features = self._features(self.images)
        continuous = [k for k, code in enumerate(self.prior.codes) if codes and not code.discrete]
        self.continuous = torch.tensor(continuous, dtype=torch.long, device=images.device)
        ends = torch.tensor([self.prior.codes[k].traversal(2) for k in continuous], device=images.device)
        self.low, self.high = ends.reshape(-1, 2).unbind(1)
        self._begin()

    def _begin(self) -> None:
        """Start an optimizer of the present latents."""
        self.free = [self.noise.detach().requires_grad_(), self.codes[:, self.continuous].detach().requires_grad_()]
        self.adam = torch.optim.Adam(self.free)

    def step(self, lr: float) -> None:
        """One step of Adam, back into the region that the prior's samples come from."""
        self.adam.param_groups[0]["lr"] = lr
        loss = self._losses(*self.free).sum()
        gradients = torch.autograd.grad(loss, self.free, allow_unused=True, materialize_grads=True)
        for value, gradient in zip(self.free, gradients, strict=True):
            value.grad = gradient
        self.adam.step()
        with torch.no_grad():
            noise, continuous = self.free
            noise.copy_(self.prior.within(noise))
            continuous.copy_(continuous.clamp(self.low, self.high))

    @torch.no_grad()
    def keep_best(self) -> None:
        """Keep the latents of each image that have the least loss."""
        n = len(self.images) // self.starts
        best = self._losses(*self.free).reshape(n, self.starts).argmin(1)
        best += self.starts * torch.arange(n, device=best.device)
        noise, continuous = (value.detach()[best] for value in self.free)
        self.images, self.features, self.codes = self.images[best], self.features[best], self.codes[best]
        self.noise, self.starts = noise, 1
        self.codes[:, self.continuous] = continuous
        self._begin()

    @property
    def latents(self) -> Latents:
        """The present latents, on the CPU: one for each image after `keep_best`."""
        latents = self._composed(*(value.detach() for value in self.free))
        return Latents(latents.input.cpu(), latents.codes.cpu())

    def _composed(self, noise: Tensor, continuous: Tensor) -> Latents:
        return self.prior.compose(noise, self.codes.index_copy(1, self.continuous, continuous))

    def _losses(self, noise: Tensor, continuous: Tensor) -> Tensor:
        """The loss of each latent; a sum over pixels, so that gradients do not underflow in half precision."""
        drawn: Tensor = self.model.generator(self._composed(noise, continuous).input.to(self.dtype)).float()
        pixels = (drawn - self.images).flatten(1).square()
        features = (self._features(drawn) - self.features).square().sum(1) / self.features.square().sum(1)
        length = noise.square().sum(1) / (self.prior.noise_variance * max(1, self.prior.noise))
        return pixels.sum(1) + pixels.shape[1] * (FEATURES * features + TYPICAL * length)

    def _features(self, images: Tensor) -> Tensor:
        """The trunk's features, float32 [n, width]."""
        features: Tensor = self.model.discriminator.trunk(images.to(self.dtype))
        return features.float()


def starting_codes(model: GAN, images: Tensor, drawn: Tensor) -> Tensor:
    """Codes [n * starts, number of codes] to start from, image after image.

    Args:
        model: The model.
        images: [n, C, H, W].
        drawn: Codes [starts, number of codes] of the prior, for a model that cannot read codes.
    """
    starts, codes = len(drawn), drawn.repeat(len(images), 1, 1).reshape(len(images), *drawn.shape)
    if model.codes and hasattr(model, "encode"):
        posteriors = encoder(model).encode(images)
        for k, code in enumerate(model.codes):
            if code.name not in posteriors:
                continue
            first, second = _most_likely(code, posteriors[code.name])
            codes[:, :, k] = first[:, None]
            if starts > 1:
                codes[:, -1, k] = second
    return codes.flatten(0, 1)


def _most_likely(code: Code, posterior: Posterior) -> tuple[Tensor, Tensor]:
    """A code's most likely value [n]; and the second most likely one, or the same if Q is certain.

    A continuous code has a single one, within the range that it was trained on.
    """
    if isinstance(posterior, Gaussian):
        low, high = code.traversal(2)
        mean = posterior.mean.clamp(low, high)
        return mean, mean
    if code.kind == "bernoulli":
        posterior = torch.stack([1 - posterior, posterior], 1)
    values, (first, second) = posterior.topk(2).values, posterior.topk(2).indices.unbind(1)
    return first.float(), torch.where(values[:, 1] >= LEAST, second, first).float()
