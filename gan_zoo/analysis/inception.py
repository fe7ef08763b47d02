"""Inception v3's features (Szegedy et al., 2016), which define FID, if network and weights are available.

The network is torch-fidelity's (the extra `inception`); the weights come from a safetensors file. torch-fidelity
distributes them as a pickle, which gan-zoo never opens; convert it once by

    python -c "import sys, torch, safetensors.torch as s; \
        s.save_file(torch.load(sys.argv[1], weights_only=True), sys.argv[2])" \
        weights-inception-2015-12-05-6726825d.pth ~/.cache/gan-zoo/inception-2015-12-05.safetensors
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from gan_zoo.errors import InputError
from gan_zoo.extras import missing
from gan_zoo.files import cache_folder
from gan_zoo.training.checkpoint import read_tensors

WIDTH = 2048


def default_weights() -> Path:
    """The default path of the weights."""
    return cache_folder() / "inception-2015-12-05.safetensors"


class Inception:
    """Features of images from Inception's last pooling.

    Args:
        network: Maps uint8 images [n, 3, h, w] to a tuple with features [n, 2048].
        device: Its device.
    """

    def __init__(self, network: nn.Module, device: torch.device | str) -> None:
        self.network = network.to(device).eval()
        self.device = torch.device(device)

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Features [n, 2048] of uint8 images [n, C, R, R]; a grey channel is repeated three times."""
        colour = images.to(self.device).expand(-1, 3, -1, -1)
        return torch.cat([self.network(part)[0] for part in colour.split(50)])


def inception(weights: Path | None = None, *, device: torch.device | str = "cpu") -> Inception:
    """Load the network with weights from a safetensors file; nothing is downloaded.

    Raises:
        InputError: If the file does not exist or fits another network, or torch-fidelity cannot be imported.
    """
    path = weights or default_weights()
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; Inception's weights are not downloaded: convert torch-fidelity's to safetensors "
            "(gan_zoo/analysis/inception.py says how), or name the file by --features (in training --logging.features)"
        )
    tensors = read_tensors(path)
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except Exception as error:  # torchvision fails in many ways with another build of torch
        raise missing("inception", "Inception", str(error).partition("\n")[0]) from None
    with TemporaryDirectory() as place:  # its constructor requires a file, so write one
        copy = Path(place) / "inception.pth"
        torch.save(tensors, copy)
        try:
            network = FeatureExtractorInceptionV3("inception", [str(WIDTH)], feature_extractor_weights_path=str(copy))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"{path} does not hold the weights of torch-fidelity's Inception: {reason}") from None
    return Inception(network, device)
