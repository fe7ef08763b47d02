"""Trained models of this package, as `gan-zoo export` writes them; `benchmarks/weights.py` makes them."""

from pathlib import Path

MNIST_5K = Path(__file__).parent / "mnist-5k"
FASHION_MNIST = Path(__file__).parent / "fashion-mnist"
