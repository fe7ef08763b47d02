"""What a run in training measures: L_I of each code, and the Fréchet distance to training images.

No measure reads a label, unless images are compared by a classifier's features. `logging.features = "auto"` chooses
these only if no checkpoint is chosen by the distance.
"""

from __future__ import annotations

import torch

from gan_zoo.analysis.fidelity import LEAST, frechet
from gan_zoo.analysis.inception import default_weights
from gan_zoo.analysis.mutual_information import information
from gan_zoo.analysis.subject import AUTO, CLASSIFIER, FEATURES, INCEPTION, RANDOM, Reals, check_features
from gan_zoo.config import Config
from gan_zoo.data.dataset import Dataset, Split
from gan_zoo.errors import InputError, unknown
from gan_zoo.files import path_from_text, path_to_text
from gan_zoo.images import to_uint8
from gan_zoo.models.gan.model import GAN

SAMPLES = 1000
"""Samples of an evaluation, always of the same latents; as many training images, or all of a smaller set."""


class Monitor:
    """The measures of a run in training; see `gan_zoo.training.evaluation.Measures`.

    Args:
        config: The configuration.
        dataset: The training data.
        model: The model, for its codes.

    Raises:
        InputError: If `logging.best` is none of the run's measures, if there are none, or if the features of
            `logging.features` are unavailable.
    """

    def __init__(self, config: Config, dataset: Dataset, model: GAN) -> None:
        self.config, wanted, features = config, config.logging.best, ""
        self.codes = [code.name for code in model.codes] if hasattr(model, "information") else []
        names = {name: name for name in ("mi", *(f"mi/{code}" for code in self.codes)) if self.codes}
        if len(dataset.train) >= LEAST:
            features = _features(config, dataset)
            logging = config.logging.model_copy(update={"features": features})
            self.config = config.model_copy(update={"logging": logging})
            names["frechet"] = f"frechet/{features if features in FEATURES else INCEPTION}"
        if wanted and wanted not in names:
            raise unknown("measure", wanted, names, where="logging.best: ")
        if not names:
            raise InputError(
                f"logging.evaluate_every: model {config.model} has no codes, and data {dataset.name!r} has fewer than "
                f"{LEAST} images to compare with: there is nothing to measure; set it to 0"
            )
        self.names, self.best, self.lower_is_better = names, names.get(wanted, ""), wanted == "frechet"
        self.reals = Reals(lambda: dataset, features, SAMPLES, 0, model.device, train_only=True)
        if features:
            self.reals.check()
        every = config.logging.evaluate_every
        self.notes = [f"evaluating every {every:,} steps, on {SAMPLES:,} samples: {', '.join(names.values())}"]
        if self.best == f"frechet/{CLASSIFIER}":
            self.notes.append("labels have a part in choosing checkpoints/best: the classifier is trained on them")

    def prepare(self) -> None:
        """Compute the features of the training images.

        Raises:
            InputError: If an image cannot be read.
        """
        if "frechet" in self.names:
            _ = self.reals.reference_features

    def measure(self, model: GAN) -> dict[str, float]:
        """`mi` and `mi/CODE`: L_I in nats; `frechet/FEATURES`: the Fréchet distance, NaN if a feature is not finite."""
        values: dict[str, float] = {}
        if self.codes:
            nats = information(model, n=SAMPLES)
            values = {f"mi/{code}": nats[code] for code in self.codes}
            values["mi"] = sum(values.values())
        if "frechet" in self.names:
            real = self.reals.reference_features
            images = torch.cat([to_uint8(part) for part in model.draw(len(real), seed=0)])
            fake = self.reals.features_of(Split(images))
            values[self.names["frechet"]] = frechet(real, fake) if bool(fake.isfinite().all()) else float("nan")
        return values


def _features(config: Config, dataset: Dataset) -> str:
    """The features that `logging.features` stands for."""
    requested = config.logging.features
    check_features(requested, "logging.features")
    if requested not in FEATURES:
        return path_to_text(str(path_from_text(requested).absolute()))
    if requested != AUTO:
        return requested
    if config.logging.best == "frechet":  # labels choose nothing unless the user names the classifier
        return INCEPTION if default_weights().is_file() else RANDOM
    try:
        return Reals(lambda: dataset, AUTO, SAMPLES, 0, torch.device("cpu")).features
    except InputError:
        return RANDOM
