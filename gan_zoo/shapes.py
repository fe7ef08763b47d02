"""The shape of an image."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageShape:
    """Shape of one square image: [channels, resolution, resolution]."""

    channels: int
    resolution: int

    @property
    def pixels(self) -> int:
        """Number of values in an image."""
        return self.channels * self.resolution**2

    def __str__(self) -> str:
        return f"{self.resolution}×{self.resolution} {'grey' if self.channels == 1 else 'colour'}"
