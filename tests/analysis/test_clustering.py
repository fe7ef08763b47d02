"""Agreement of groups and classes, against tables computed by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gan_zoo.analysis.clustering import Grouped, accuracy, assignment, contingency, modes, scores
from gan_zoo.data.dataset import Split
from gan_zoo.models.gan.codes import Code


def grouped(groups: list[int], classes: list[int]) -> Grouped:
    return Grouped(np.array(groups), np.array(classes))


class Oracle:
    """Predicts the classes 0, 1, 2 as values 2, 0, 1 of its second code."""

    device = torch.device("cpu")
    codes = (Code("c1", "uniform"), Code("c2", "categorical", classes=3))

    def encode(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        classes = ((images[:, 0, 0, 0] + 1) * 127.5).round().long()
        return {"c1": torch.zeros(len(images)), "c2": torch.eye(3)[(classes + 2) % 3]}


def test_modes_are_told_in_the_order_of_the_split() -> None:
    labels = torch.tensor([0, 1, 2, 2, 1, 2])
    images = labels.to(torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4).contiguous()
    found = modes(Oracle(), Split(images, labels), batch_size=4)
    assert list(found) == ["c2"]
    assert found["c2"].tolist() == [2, 0, 1, 1, 0, 1]
    table = contingency(Grouped(found["c2"], labels.numpy()), 3, 3)
    assert table.tolist() == [[0, 2, 0], [0, 0, 3], [1, 0, 0]]
    assert assignment(table).tolist() == [1, 2, 0]


def test_accuracy_of_a_table_made_by_hand() -> None:
    found = grouped([0, 0, 0, 0, 0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 1, 1, 1, 0, 0])
    # Both groups are mostly of class 1, and only one of them can have it: 4 + 2 is more than 3 + 1.
    told = scores(found, found, 2, 2)
    assert told["accuracy"] == pytest.approx(0.6)
    assert told["purity"] == pytest.approx(0.7)


def test_the_assignment_is_fitted_on_one_split_and_applied_to_another() -> None:
    train = grouped([0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1])
    test = grouped([0, 0, 1, 1, 1], [1, 1, 0, 0, 1])
    assert scores(train, test, 2, 2)["accuracy"] == pytest.approx(0.2)
    assert scores(train, test, 2, 2)["purity"] == pytest.approx(0.2)
    assert scores(test, test, 2, 2)["accuracy"] == pytest.approx(0.8)


def test_groups_without_a_class_count_as_wrong() -> None:
    found = grouped([0, 0, 0, 1, 1, 2, 2, 2, 2], [0, 0, 0, 0, 0, 1, 1, 1, 1])
    assert assignment(contingency(found, 3, 2)).tolist() == [0, -1, 1]
    told = scores(found, found, 3, 2)
    assert told["accuracy"] == pytest.approx(7 / 9)
    assert told["purity"] == 1.0


def test_classes_without_a_group_count_as_wrong() -> None:
    found = grouped([0, 0, 0, 1, 1], [0, 0, 2, 1, 1])
    assert scores(found, found, 2, 3)["accuracy"] == pytest.approx(0.8)


def test_nmi_and_ari_do_not_ask_for_names_and_see_one_group_as_nothing() -> None:
    classes = [0, 0, 1, 1, 2, 2]
    told = scores(grouped([0] * 6, classes), grouped([2, 2, 0, 0, 1, 1], classes), 3, 3)
    assert (told["nmi"], told["ari"]) == (pytest.approx(1), pytest.approx(1))
    told = scores(grouped([0] * 6, classes), grouped([0] * 6, classes), 3, 3)
    assert (told["nmi"], told["ari"]) == (pytest.approx(0), pytest.approx(0))


@given(arrays(np.int64, (4, 4), elements=st.integers(0, 9)))
def test_no_other_assignment_agrees_more(table: np.ndarray) -> None:
    assigned = assignment(table)
    assert sorted(assigned) == [0, 1, 2, 3]
    best = max(sum(table[k, order[k]] for k in range(4)) for order in permutations(range(4)))
    assert sum(table[k, assigned[k]] for k in range(4)) == best
    if table.sum():
        groups, classes = (np.repeat(index.ravel(), table.ravel()) for index in np.indices(table.shape))
        assert accuracy(Grouped(groups, classes), assigned) == pytest.approx(best / table.sum())
