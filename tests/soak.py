"""How many cases the tests of reliability try: `make soak` sets the variable GAN_ZOO_SOAK to a factor."""

from __future__ import annotations

import os

SOAK = int(os.environ.get("GAN_ZOO_SOAK", "1"))
