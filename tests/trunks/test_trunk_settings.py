"""Settings that only some trunks read: refused by the others, and one number for each stage."""

from __future__ import annotations

from typing import Any

import pytest
from narrow import Game, one_line

from gan_zoo.config import TrunkSettings
from gan_zoo.errors import InputError
from gan_zoo.registry import Entry, trunks
from gan_zoo.shapes import ImageShape
from gan_zoo.trunks.mlp import MLP
from gan_zoo.trunks.trunk import Trunk, by_stage, stage_sides, trunk_of

STAGED = Trunk(MLP.generator, MLP.discriminator, settings=frozenset({"width", "widths", "spectral_norm"}))


@pytest.fixture
def staged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trunk `staged`, which reads the widths of stages and no norms."""
    monkeypatch.setitem(trunks.entries, "staged", Entry("staged", "", "gan-zoo", f"{__name__}:STAGED"))


@pytest.mark.parametrize("name", ["dcgan", "infogan-mnist", "mlp", "resnet"])
@pytest.mark.parametrize(
    ("settings", "given", "change"),
    [
        ({"widths": (8, 4)}, "trunk.widths = [8, 4]", "trunk.widths to []"),
        ({"cardinality": (2,)}, "trunk.cardinality = [2]", "trunk.cardinality to []"),
        ({"blocks": (3,)}, "trunk.blocks = [3]", "trunk.blocks to [2]"),
        (
            {"widths": (8,), "blocks": (1,)},
            "trunk.blocks = [1] and trunk.widths = [8]",
            "trunk.blocks to [2] and trunk.widths to []",
        ),
    ],
)
def test_a_setting_that_a_trunk_ignores_is_refused(
    name: str, settings: dict[str, Any], given: str, change: str
) -> None:
    with pytest.raises(InputError) as error:
        Game("infogan", trunk__name=name, **{f"trunk__{key}": value for key, value in settings.items()})
    assert one_line(error) == f"trunk {name} does not support {given}; set {change}"


@pytest.mark.usefixtures("staged")
def test_a_norm_that_a_trunk_ignores_is_refused_too() -> None:
    with pytest.raises(InputError) as error:
        trunk_of(TrunkSettings(name="staged"))
    assert one_line(error) == (
        'trunk staged does not support trunk.discriminator_norm = "batch" and trunk.generator_norm = "batch"; set '
        'trunk.discriminator_norm to "none" and trunk.generator_norm to "none"'
    )


@pytest.mark.usefixtures("staged")
def test_a_width_beside_widths_is_refused() -> None:
    none: dict[str, Any] = {"generator_norm": "none", "discriminator_norm": "none", "freeze_d": 1}
    assert trunk_of(TrunkSettings(name="staged", widths=(8, 4), **none)) is STAGED
    assert trunk_of(TrunkSettings(name="staged", width=8, **none)) is STAGED
    with pytest.raises(InputError) as error:
        trunk_of(TrunkSettings(name="staged", width=8, widths=(8, 4), **none))
    assert one_line(error) == (
        "trunk.width = 8 has no effect beside trunk.widths = [8, 4]; set trunk.widths to [], or trunk.width to 64"
    )


def test_every_stage_has_its_number() -> None:
    assert by_stage("widths", (), (5, 6, 7)) == [5, 6, 7]
    assert by_stage("widths", (1,), (5, 6, 7)) == [1, 1, 1]
    assert by_stage("widths", (1, 2, 3), (5, 6, 7)) == [1, 2, 3]
    for wrong in ((1, 2), (1, 2, 3, 4)):
        with pytest.raises(InputError) as error:
            by_stage("widths", wrong, (5, 6, 7))
        start = f"trunk.widths has {len(wrong)} numbers, but the trunk has 3 stages at this resolution;"
        assert one_line(error).startswith(start)


@pytest.mark.parametrize(("resolution", "nearest"), [(28, 32), (3, 4), (48, 64), (600, 1024)])
def test_a_side_that_is_no_power_of_two_is_refused(resolution: int, nearest: int) -> None:
    with pytest.raises(InputError) as error:
        stage_sides("staged", ImageShape(1, resolution))
    assert f"not {resolution}×{resolution}; set data.resolution to {nearest}, or" in one_line(error)


def test_a_stage_for_each_side() -> None:
    assert stage_sides("staged", ImageShape(1, 4)) == [4]
    assert stage_sides("staged", ImageShape(3, 64)) == [4, 8, 16, 32, 64]
