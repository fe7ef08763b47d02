"""The model card of an export."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from gan_zoo import __version__, registry
from gan_zoo.analysis.result_tables import number
from gan_zoo.analysis.results import Measurement
from gan_zoo.config import Config
from gan_zoo.errors import quoted
from gan_zoo.models.gan.model import GAN
from gan_zoo.resolve import resolve
from gan_zoo.training.build import average_decay
from gan_zoo.training.compact import Precision
from gan_zoo.training.exported import Description
from gan_zoo.trees import flat


def model_card(
    model: GAN,
    description: Description,
    *,
    name: str,
    figures: Sequence[Measurement],
    files: Collection[str],
    precision: Precision,
) -> str:
    """The content of README.md: the model, its use, its figures and its training.

    Args:
        model: The exported model.
        description: The content of config.json.
        name: Its name for `gan_zoo.load`.
        figures: Its measurements.
        files: The other files of the export.
        precision: How the weights are stored.
    """
    config, step = description.config, description.step
    parts = [
        _front_matter(config),
        f"# {_plain(config.model)} on {_plain(data_name(config))}",
        _about(config, step, precision),
        *(f"![{title}]({file})" for file, title in PICTURES.items() if file in files),
        "## Use",
        _use(model, name),
        *(["## Codes", "\n".join(_codes(model))] if model.codes else []),
        *(["## Figures", "\n".join(_figures(figures, step))] if figures else []),
        "## Training",
        "\n".join(_training(description)),
        *(["## ONNX", "\n".join(_networks(model))] if "generator.onnx" in files else []),
    ]
    return "\n\n".join(parts) + "\n"


PICTURES = {
    "samples.png": "Samples of the generator",
    "traversal.png": "Traversals: a code varies along the columns, a row shares its noise and its other codes",
}


def data_name(config: Config) -> str:
    """The name of the data, without its folder."""
    data = config.data
    named = data.path if data.name in ("folder", "array", "hub") and data.path else data.name
    return named if data.name == "hub" and not Path(named).is_absolute() else Path(named).name


def _front_matter(config: Config) -> str:
    tags = ["gan", "image-generation", *([config.model] if config.model != "gan" else [])]
    lines = ["library_name: gan-zoo", "pipeline_tag: unconditional-image-generation", "tags:"]
    lines += [f"- {json.dumps(tag)}" for tag in tags]  # JSON strings are valid YAML
    return "\n".join(["---", *lines, "---"])


STORED = {"fp32": "", "fp16": " in fp16", "int8": ", matrices in int8 with a scale for each row, the rest in fp16"}


def _about(config: Config, step: int, precision: Precision) -> str:
    summary = registry.models.entries[config.model].summary
    title = f"`{_plain(config.model)}`" + (f" ({summary})" if summary else "")
    side, channels = config.data.resolution, config.data.channels
    return (
        f"{title}, after {step:,} steps on {_plain(data_name(config))}: images of {side} × {side} pixels in "
        f"{'grey' if channels == 1 else 'colour'}. Written by gan-zoo {__version__}; `config.json` holds the whole "
        "configuration, `model.safetensors` the weights, with the generator's moving average where the run kept one"
        f"{STORED[precision]}."
    )


def loaded_by(name: str) -> str:
    """The call that loads the model, for the card."""
    return f"gan_zoo.load({json.dumps(name, ensure_ascii=False)})"


def _use(model: GAN, name: str) -> str:
    channels, side = model.image.channels, model.image.resolution
    lines = [
        "```python",
        "import gan_zoo",
        "",
        f"model = {loaded_by(name)}",
        f"images = model.sample(64)  # [64, {channels}, {side}, {side}] in [-1, 1]",
    ]
    if model.codes:
        lines.append(f'fixed = model.sample(64, codes={{"{model.codes[0].name}": 0}})')
        lines += ["codes = model.encode(images)  # Q(c | x), by code"] if hasattr(model, "encode") else []
    return "\n".join([*lines, "```"])


def _codes(model: GAN) -> Iterator[str]:
    yield from ("| code | kind | values | H(c), nats |", "| --- | --- | --- | ---: |")
    for code in model.codes:
        values = f"0 to {code.classes - 1}" if code.kind == "categorical" else "0, 1" if code.discrete else "real"
        yield f"| {code.name} | {code.kind} | {values} | {code.entropy:.3f} |"


def _figures(figures: Sequence[Measurement], step: int) -> Iterator[str]:
    yield f"By `gan-zoo evaluate` at step {step:,}."
    yield from ("", "| metric | number | value | of |", "| --- | --- | ---: | --- |")
    for one in figures:
        for key, value in one.numbers.items():
            yield f"| {_plain(one.metric)} | {_plain(key)} | {number(value)} | {_plain(one.basis)} |"
    yield ""
    for one in figures:
        if one.note:
            yield f"- {_plain(one.metric)}: {_plain(one.note)}."


def _training(description: Description) -> Iterator[str]:
    config, origin = description.config, description.origin
    trunk, average = config.trunk, average_decay(config.training)
    rows = {
        "trunk": f"{trunk.name}, widths {list(trunk.widths)}" if trunk.widths else f"{trunk.name}, width {trunk.width}",
        "adversarial loss": config.loss.adversarial,
        "batch size": config.training.batch_size,
        "precision": config.training.precision,
        "moving average of the generator": f"{average:.4g}" if average else "none",
        "seed": config.seed,
    } | ({"data": description.data_license} if description.data_license else {})
    rows |= {"started at": str(origin)} if origin else {}
    start = f" --from {shlex.quote(quoted(origin.source, 200))}" if origin else ""
    yield from ("```console", f"$ {training_command(config)}{start}", "```", "", "| | |", "| --- | --- |")
    for key, value in rows.items():
        yield f"| {key} | {_plain(str(value))} |"


DERIVED = {"training.device", "data.resolution", "data.channels", "data.classes"}
"""Settings that a run derives from its data and its machine."""
DEFAULT_DATA = "mnist-5k"


def training_command(config: Config) -> str:
    """The `gan-zoo train` command that resolves to a configuration, in fewest words, by no preset or its data's."""
    wanted = flat(config.model_dump(mode="json"))

    def words(preset: str | None) -> list[str]:
        default = flat(resolve(config.model, preset, {"data.name": config.data.name}).model_dump(mode="json"))
        changed = {key: value for key, value in wanted.items() if key not in DERIVED and default[key] != value}
        named = ["--config", preset] if preset else ["--data", config.data.name]
        named = [] if not preset and config.data.name == DEFAULT_DATA else named
        return [*named, *(word for key, value in changed.items() for word in _flag(key, value))]

    of_data = [preset for preset in registry.presets() if resolve(config=preset).data.name == config.data.name]
    return shlex.join(["gan-zoo", "train", config.model, *min(map(words, [None, *of_data]), key=len)])


def _flag(key: str, value: Any) -> list[str]:
    """The words that set a key on the command line."""
    table, dot, last = key.replace("_", "-").rpartition(".")
    if isinstance(value, bool):
        return [f"--{table}{dot}{'' if value else 'no-'}{last}"]
    return [f"--{table}{dot}{last}", *map(str, value if isinstance(value, list) else [value])]


def _networks(model: GAN) -> Iterator[str]:
    image = f"[n, {model.image.channels}, {model.image.resolution}, {model.image.resolution}]"
    yield (
        f"`generator.onnx` takes `latent` [n, {model.prior.width}] — noise ({model.prior.noise} columns, "
        f"{model.config.latent.distribution}), then each code in order, a categorical one as one-hot — and gives "
        f"`images` {image} in [-1, 1]."
    )
    if hasattr(model, "encode"):
        yield (
            f"`encoder.onnx` takes `images` {image} in [-1, 1] and gives Q(c | x): of a categorical code its "
            "probabilities [n, K], of a bernoulli one P(c = 1) [n], of a continuous one `NAME.mean` and "
            "`NAME.log_variance` [n]."
        )


def _plain(text: str) -> str:
    """Escape a run's text as one line of Markdown."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in line)
