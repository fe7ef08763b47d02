"""Export the generator and Q as ONNX (the extra `onnx`), and compare them with torch.

generator.onnx    latent [n, width] -> images [n, C, R, R] in [-1, 1]
encoder.onnx      images [n, C, R, R] in [-1, 1] -> Q(c | x) by code: NAME, or NAME.mean and NAME.log_variance

n is dynamic. The files contain the weights; all values are float32.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gan_zoo.errors import InputError, TrainingError
from gan_zoo.extras import require
from gan_zoo.models.gan.model import GAN
from gan_zoo.models.gan.prior import SHOWN
from gan_zoo.models.infogan.q_head import Gaussian
from gan_zoo.terminal import say

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4
"""Maximum difference from torch's value x, relative to 1 + |x|."""
CHECKED = (1, 7)
"""Batch sizes that are compared."""
MOST_BYTES = 2**31 - 2**24
"""Maximum size of the weights: an ONNX file is one protobuf message, which is limited to 2 GiB."""

METADATA = ("metadata_props", "doc_string")

logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # without messages about missing packages


class Encoder(nn.Module):
    """Maps images [n, C, R, R] to the tensors of Q(c | x), in the order of `outputs`."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Q(c | x) as a flat tuple."""
        posteriors = self.model.encode(images)
        return tuple(t for code in self.model.codes for t in _flat(posteriors[code.name]))

    @property
    def outputs(self) -> list[str]:
        """The name of each tensor."""
        names = []
        for code in self.model.codes:
            names += [code.name] if code.discrete else [f"{code.name}.{field}" for field in Gaussian._fields]
        return names


def check_installed() -> None:
    """Check that the extra `onnx` is installed.

    Raises:
        InputError: If it is not.
    """
    for package in PACKAGES:
        require(package, "onnx", "--onnx")


def networks(model: GAN) -> dict[str, bytes]:
    """The ONNX files of a model on the CPU, by name; prints by how much each differs from torch.

    Args:
        model: The model, in evaluation mode. Without Q there is no encoder.

    Raises:
        InputError: If the extra is missing, a network is too large for ONNX, or ONNX does not support a part of it.
        TrainingError: If a network in ONNX does not agree with torch.
    """
    latents = model.prior.sample(max(CHECKED), seed=model.config.seed, stream=SHOWN)
    images = model.generate(latents)
    files = {"generator.onnx": _checked("generator", model.generator, latents.input, "latent", ["images"])}
    if model.codes and hasattr(model, "encode"):
        encoder = Encoder(model)
        files["encoder.onnx"] = _checked("encoder", encoder, images, "images", encoder.outputs)
    return files


def _checked(name: str, network: nn.Module, rows: Tensor, input_name: str, names: Sequence[str]) -> bytes:
    content = _to_onnx(name, network.eval(), rows, input_name, names)
    difference = max(_difference(name, network, content, rows[:n], input_name, names) for n in CHECKED)
    say(f"{name}.onnx: differs from torch by at most {difference:.1g}, relative to 1 + |x|")
    return content


def _to_onnx(name: str, network: nn.Module, rows: Tensor, input_name: str, names: Sequence[str]) -> bytes:
    """Export a network as an ONNX file without information about this machine."""
    size = sum(tensor.nbytes for tensor in network.state_dict().values())
    if size > MOST_BYTES:
        raise InputError(f"the {name} has {size:,} bytes of weights; an ONNX file holds {MOST_BYTES:,}")
    try:
        with warnings.catch_warnings(action="ignore"), torch.no_grad():
            program = torch.onnx.export(
                network,
                (rows[:3],),
                dynamo=True,
                input_names=[input_name],
                output_names=list(names),
                dynamic_shapes=({0: torch.export.Dim("n")},),
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        line = " ".join(str(error).split())[:300]
        raise InputError(f"the {name} cannot be written as ONNX: {line}") from None
    assert program is not None
    proto = program.model_proto
    _forget_sources(proto.graph)
    for function in proto.functions:
        _forget_sources(function)
    content: bytes = proto.SerializeToString()
    return content


def _forget_sources(graph: Any) -> None:
    """Remove the exporter's references to source code and its folders."""
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        for key in METADATA:
            part.ClearField(key)


def _difference(
    name: str, network: nn.Module, content: bytes, rows: Tensor, input_name: str, names: Sequence[str]
) -> float:
    """The largest difference between onnxruntime's and torch's values."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = _flat(network(rows))
    results: Sequence[Any] = session.run(list(names), {input_name: rows.numpy()})
    worst = 0.0
    for key, tensor, result in zip(names, expected, results, strict=True):
        other = torch.from_numpy(result)
        if other.shape != tensor.shape:
            raise TrainingError(f"{name}.onnx gives {key} as {list(other.shape)}, torch as {list(tensor.shape)}")
        difference = float(((other - tensor).abs() / (1 + tensor.abs())).max())
        if not difference <= TOLERANCE:
            raise TrainingError(
                f"{name}.onnx does not agree with torch: {key} differs by {difference:.2g}, relative to 1 + |x|; at "
                f"most {TOLERANCE:g} is accepted, and nothing was written"
            )
        worst = max(worst, difference)
    return worst


def _flat(value: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    return (value,) if isinstance(value, Tensor) else tuple(value)
