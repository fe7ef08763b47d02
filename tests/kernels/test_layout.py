"""Layouts refuse what they cannot describe, and gather equal neighbours."""

import subprocess
import sys

import pytest
from gan_zoo_kernels import Kind, Layout, PriorCode, PriorLayout, Segment


def test_of_places_codes_in_consecutive_columns():
    layout = Layout.of(("categorical", 10), ("gaussian", 1), ("gaussian_fixed", 1), ("bernoulli", 1))
    assert [(s.kind, s.start, s.size) for s in layout.segments] == [
        (Kind.CATEGORICAL, 0, 10),
        (Kind.GAUSSIAN, 10, 2),
        (Kind.GAUSSIAN_FIXED, 12, 1),
        (Kind.BERNOULLI, 13, 1),
    ]
    assert layout.width == 14
    assert len({layout, Layout(layout.segments), Layout(layout.segments, log_var_max=2.0)}) == 2


def test_runs_gather_equal_neighbours_only_where_columns_follow_each_other():
    assert len(Layout.of(*[("categorical", 10)] * 10).runs) == 1
    apart = Layout(
        (
            Segment(Kind.GAUSSIAN_FIXED, 0, 1),
            Segment(Kind.GAUSSIAN_FIXED, 2, 1),
            Segment(Kind.GAUSSIAN_FIXED, 1, 1),
        )
    )
    assert [(r.first_code, r.count, r.first_column) for r in apart.runs] == [(0, 1, 0), (1, 1, 2), (2, 1, 1)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Layout(()), "at least one code"),
        (lambda: Layout((Segment(Kind.GAUSSIAN, 1, 2),)), "leave a gap"),
        (lambda: Layout((Segment(Kind.GAUSSIAN, 0, 2), Segment(Kind.BERNOULLI, 1, 1))), "overlap"),
        (lambda: Segment(Kind.GAUSSIAN, 0, 1), "2 column"),
        (lambda: Segment(Kind.CATEGORICAL, 0, 1), "2 to 16777216 classes, not 1"),
        (lambda: Layout.of(("uniform", 1)), "unknown kind of code 'uniform'"),
        (lambda: Layout.of(("gaussian", 1), log_var_min=1.0, log_var_max=-1.0), "min < max"),
        (lambda: PriorCode("uniform", low=1.0, high=1.0), "low < high"),
        (lambda: PriorCode("bernoulli", probability=1.5), "not 1.5"),
        (lambda: PriorLayout(0), "at least one column"),
    ],
)
def test_refusals_name_the_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_layout_module_needs_no_torch():
    code = (
        "import sys, types; package = types.ModuleType('gan_zoo_kernels');"
        "import importlib.util as u; spec = u.find_spec('gan_zoo_kernels');"
        "package.__path__ = spec.submodule_search_locations; sys.modules['gan_zoo_kernels'] = package;"
        "import gan_zoo_kernels.layout; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
