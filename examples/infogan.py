"""InfoGAN on 5,000 handwritten digits in plain torch: `python examples/infogan.py [STEPS [SEED]]`.

Part of the generator's latents is a code c: one of ten values, and two numbers. A head Q on the discriminator's trunk
reads it back from the image, and both players maximise how well: L_I, a lower bound on the mutual information of code
and image (Chen et al., 2016, arXiv:1606.03657). A third term asks Q to read the same code from a real digit and from a
warped copy (Hu et al., 2017, arXiv:1702.08720), and the code becomes the digit. Labels only measure how often that is.
`gan-zoo train infogan` minimises the same functions; a test compares them.
"""

import sys
from copy import deepcopy
from math import e, log, log1p, pi
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn

DIGITS = Path(__file__).parents[1] / "gan_zoo/data/mnist5k.npz"
NOISE, CLASSES, CONTINUOUS, BATCH = 62, 10, 2, 64
SETTLED, LATER, SPREAD = 900, 0.4, 4.0  # after so many steps the third term has so much of its weight
ENTROPY, WEIGHTS = torch.tensor([log(10), log(2), log(2)]), torch.tensor([1, 0.6, 0.6])  # of each code: H(c), λ


def make_generator():
    """Latents [n, 74] to images [n, 1, 28, 28] in [-1, 1]; table 1 of the paper at half its width."""
    return nn.Sequential(
        nn.Linear(NOISE + CLASSES + CONTINUOUS, 512, bias=False), nn.BatchNorm1d(512), nn.ReLU(),
        nn.Linear(512, 64 * 7 * 7, bias=False), nn.BatchNorm1d(64 * 7 * 7), nn.ReLU(), nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1), nn.Tanh(),
    )  # fmt: skip


class Discriminator(nn.Module):
    """D's logit and Q's reading of the code: two heads on one trunk."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 32, 4, stride=2, padding=1), nn.LeakyReLU(0.1),
            nn.Conv2d(32, 64, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.1),
            nn.Flatten(), nn.Linear(64 * 7 * 7, 512, bias=False), nn.BatchNorm1d(512), nn.LeakyReLU(0.1),
        )  # fmt: skip
        self.head = nn.Linear(512, 1)
        hidden = nn.Linear(512, 128, bias=False), nn.BatchNorm1d(128), nn.LeakyReLU(0.1)
        self.q = nn.Sequential(*hidden, nn.Linear(128, CLASSES + CONTINUOUS))  # logits; means of Gaussians

    def forward(self, images):
        """Images [n, 1, 28, 28] to logits [n, 1] and what Q says [n, 12]."""
        return self.head(features := self.trunk(images)), self.q(features)


def initialise(layer):
    """DCGAN's initial weights."""
    for name, weights in layer.named_parameters(recurse=False):
        nn.init.normal_(weights, float(name == "weight" and weights.ndim == 1), 0.02 * (name == "weight"))


def latents(n):
    """The generator's input [n, 74], and its codes: values int64 [n] and continuous ones [n, 2]."""
    value, continuous = torch.randint(CLASSES, (n,)), torch.rand(n, CONTINUOUS) * 2 - 1
    return torch.cat([torch.rand(n, NOISE) * 2 - 1, F.one_hot(value, CLASSES), continuous], 1), (value, continuous)


def warp(images):
    """Copies that show the same digits: each turned, slanted, scaled, stretched, moved and bent a little."""
    n, uniform = len(images), lambda *shape: torch.rand(len(images), *shape) * 2 - 1
    scale, height, slant, angle = log1p(0.1) * uniform(1), log1p(0.2) * uniform(1), 0.4 * uniform(1), 0.2 * uniform(1)
    x, y = torch.cat([angle.cos(), angle.sin()], 1), torch.cat([-angle.sin(), angle.cos()], 1)
    back = torch.stack([(x - slant * y) / scale.exp(), y / (scale + height).exp()], 1)  # to where a pixel comes from
    places = F.affine_grid(torch.cat([back, back @ (0.1 * uniform(2, 1))], 2), images.shape, align_corners=False)
    bend = F.interpolate(0.08 * torch.randn(n, 2, 4, 4), images.shape[2:], mode="bicubic", align_corners=True)
    return F.grid_sample(images, places + bend.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)


def information(q, codes):
    """-Σ λ L_I but for constants, and L_I = E[log Q(c | x)] + H(c) of each code, [3] (eq. 5)."""
    nll, errors = F.cross_entropy(q[:, :CLASSES], codes[0]), (codes[1] - q[:, CLASSES:]).square().mean(0)
    l_i = ENTROPY - torch.cat([nll[None], 0.5 * (2 * pi * e * errors).log()])  # of Gaussians of the best variance
    return WEIGHTS @ torch.cat([nll[None], errors / 2]), l_i  # the gradient is that of a variance of 1


def inconsistency(q, of_warped):
    """Cross-entropy of Q on an image and on its warped copy, less the weighted entropy of the batch's mean code."""
    p, log_warped = q[:, :CLASSES].softmax(1), of_warped[:, :CLASSES].log_softmax(1)
    return -(p * log_warped).sum(1).mean() + SPREAD * (p.mean(0) * p.mean(0).log()).sum()


def step(generator, discriminator, optimizer_g, optimizer_d, real, warped, z, codes, consistency=1.0):
    """D's step, then G's on the same fakes; returns what each minimised, and L_I of each code."""
    fake = generator(z)
    (real_logits, real_q), (fake_logits, fake_q) = discriminator(real), discriminator(fake.detach())
    term, l_i = information(fake_q, codes)
    loss_d = F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean() + term
    loss_d += consistency * inconsistency(real_q, discriminator(warped)[1])
    optimizer_d.zero_grad()
    loss_d.backward()
    optimizer_d.step()

    logits, q = discriminator(fake)
    loss_g = F.softplus(-logits).mean() + information(q, codes)[0]
    optimizer_g.zero_grad()
    loss_g.backward()
    optimizer_g.step()
    return loss_d.item(), loss_g.item(), l_i.tolist()


def train(images, steps, seed=0):
    """From images [n, 1, 28, 28] in [-1, 1] to D with its head Q, and the moving average of G."""
    torch.manual_seed(seed)
    generator, discriminator = make_generator().apply(initialise), Discriminator().apply(initialise)
    average, rates = deepcopy(generator), {generator: 1e-3, discriminator: 3e-4}
    optimizers = [torch.optim.Adam(player.parameters(), lr, (0.5, 0.999)) for player, lr in rates.items()]
    order = torch.cat([torch.randperm(len(images)) for _ in range(steps * BATCH // len(images) + 1)])
    for done, real in enumerate((images[chosen] for chosen in order.split(BATCH)[:steps]), 1):
        inputs = real, warp(real), *latents(BATCH), 1.0 if done <= SETTLED else LATER
        loss_d, loss_g, l_i = step(generator, discriminator, *optimizers, *inputs)
        for mean, new in zip(average.state_dict().values(), generator.state_dict().values(), strict=True):
            mean.copy_(mean.float().lerp(new.float(), 1 - min(0.999, (1 + done) / (10 + done))))
        if done % 50 == 0:
            print(f"step {done}  D {loss_d:.3f}  G {loss_g:.3f}  L_I", *(f"{bound:.2f}" for bound in l_i), flush=True)
    update_bn(z := [latents(BATCH)[0] for _ in range(16)], average)  # statistics of the averaged weights
    update_bn(map(average.eval(), z), discriminator)
    return discriminator.eval(), average


def main(steps=2200, seed=0, picture="infogan.png"):
    """Train, measure and draw."""
    images, labels = (torch.from_numpy(np.load(DIGITS, allow_pickle=False)[name]).long() for name in "xy")
    images, learned = images[:, None] / 127.5 - 1, torch.arange(5000) % 500 < 450  # of each digit; 50 are held back
    discriminator, generator = train(images[learned], steps, seed)
    with torch.no_grad():
        codes = discriminator(images)[1][:, :CLASSES].argmax(1)
        rows = latents(8)[0].repeat_interleave(CLASSES, 0)
        rows[:, NOISE : NOISE + CLASSES] = torch.eye(CLASSES).repeat(8, 1)
        grid = generator(rows).view(8, CLASSES, 28, 28).permute(0, 2, 1, 3).reshape(8 * 28, CLASSES * 28)
    counts = (CLASSES * codes + labels)[learned].bincount(minlength=CLASSES**2)  # how often a code goes with a digit
    digits = torch.from_numpy(linear_sum_assignment(counts.view(CLASSES, CLASSES), maximize=True)[1])[codes]
    right = (digits == labels)[~learned].double().mean()
    print(f"Q is right on {right:.3f} of the digits held back; {picture}: a row a sample, a column a value of the code")
    Image.fromarray(((grid + 1) * 127.5).round().byte().numpy()).save(picture)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
