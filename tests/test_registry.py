"""Names to things."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from gan_zoo import registry
from gan_zoo.errors import InputError, unknown
from gan_zoo.registry import Registry

ALL = (registry.models, registry.trunks, registry.datasets, registry.losses, registry.loggers, registry.weights)


def with_points(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint, kind: str = "model") -> Registry:
    """A registry with one thing of its own, in an environment with these entry points."""
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda *, group: [point for point in points if point.group == group]
    )
    return Registry(kind, {"own": ("math:pi", "a number")})


@pytest.mark.parametrize("names", ALL, ids=lambda names: names.kind)
def test_every_name_leads_to_a_thing(names: Registry) -> None:
    for name, entry in names.entries.items():
        assert names.get(name) is not None
        assert names.check(name) == name
        assert entry.summary


@pytest.mark.parametrize("model", registry.models.entries)
def test_a_model_has_the_attributes_of_its_recipe(model: str) -> None:
    model_class, recipe = registry.models.get(model), registry.models.recipe(model)
    for attribute in ("defaults", "settings", "extends"):
        assert getattr(model_class, attribute) == getattr(recipe, attribute)


@pytest.mark.parametrize("names", ALL, ids=lambda names: names.kind)
def test_names_are_sorted_and_their_summaries_differ(names: Registry) -> None:
    assert list(names.entries) == sorted(names.entries)
    assert len({entry.summary for entry in names.entries.values()}) == len(names.entries)


@pytest.mark.parametrize("names", ALL, ids=lambda names: names.kind)
def test_an_unknown_name_is_refused_with_all_known(names: Registry) -> None:
    with pytest.raises(InputError, match=f"unknown {names.kind} 'zzz'") as refused:
        names.get("zzz")
    assert all(name in str(refused.value) for name in names.entries)


def test_plurals_of_kinds_are_words() -> None:
    assert [names.plural for names in ALL] == ["models", "trunks", "datasets", "losses", "loggers", "weights"]


def test_the_nearest_name_is_suggested_only_if_it_is_near() -> None:
    assert "did you mean 'infogan'?" in str(unknown("model", "infogen", ["infogan", "gan"]))
    assert "did you mean" not in str(unknown("model", "zzz", ["infogan", "gan"]))
    assert str(unknown("code", "c1", [])) == "unknown code 'c1'; there are none"


def test_groups_are_named_after_the_kinds() -> None:
    assert [names.group for names in ALL] == [
        "gan_zoo.models", "gan_zoo.trunks", "gan_zoo.datasets", "gan_zoo.losses", "gan_zoo.loggers",
        "gan_zoo.weights",
    ]  # fmt: skip


def test_an_entry_point_adds_a_name_without_being_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    names = with_points(monkeypatch, EntryPoint("other", "no_such_module:thing", "gan_zoo.models"))
    assert list(names.entries) == ["other", "own"]


def test_entry_points_of_another_group_add_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    names = with_points(monkeypatch, EntryPoint("other", "math:e", "gan_zoo.trunks"))
    assert list(names.entries) == ["own"]


@pytest.mark.parametrize("kind", ["model", "trunk", "dataset", "loss"])
def test_every_kind_is_open_to_entry_points(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    group = {"loss": "gan_zoo.losses"}.get(kind, f"gan_zoo.{kind}s")
    names = with_points(monkeypatch, EntryPoint("other", "math:e", group), kind=kind)
    assert names.get("other") == pytest.approx(2.71828, abs=1e-5)


def test_two_things_of_one_name_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    names = with_points(monkeypatch, EntryPoint("own", "math:e", "gan_zoo.models"))
    with pytest.raises(InputError, match="two models are named 'own'"):
        _ = names.entries


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no_such_module:thing", "ModuleNotFoundError"),
        ("math:no_such_thing", "AttributeError"),
        ("failing:thing", "ValueError: not today"),
        ("unparsable:thing", "SyntaxError"),
    ],
)
def test_a_plug_in_that_cannot_be_imported_is_told_by_name(
    target: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing.py").write_text("raise ValueError('not today')")
    (tmp_path / "unparsable.py").write_text("def")
    monkeypatch.syspath_prepend(tmp_path)
    names = with_points(monkeypatch, EntryPoint("other", target, "gan_zoo.models"))
    with pytest.raises(InputError, match=f"model 'other' from .* cannot be loaded: {reason}"):
        names.get("other")


def test_listing_imports_neither_torch_nor_the_things() -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from gan_zoo.registry import *\n"
            "count = sum(len(names.entries) for names in (models, trunks, datasets, losses, loggers, weights))\n"
            "print(count, sorted(m for m in sys.modules if m == 'torch' or m.startswith('gan_zoo')))",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    count = sum(len(names.entries) for names in ALL)
    assert told.strip() == f"{count} ['gan_zoo', 'gan_zoo.errors', 'gan_zoo.registry']"
