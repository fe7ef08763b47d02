"""Layouts: which columns a spec gives each code, and what they refuse."""

import subprocess
import sys

import pytest
from gan_zoo_kernels import Layout
from gan_zoo_kernels.layout import BERNOULLI, CATEGORICAL, GAUSSIAN


def test_codes_have_consecutive_columns():
    layout = Layout("categorical:10|gaussian:2|gaussian:1|bernoulli:1")
    assert layout.columns == (slice(0, 10), slice(10, 12), slice(12, 13), slice(13, 14))
    assert [group.kind for group in layout.groups] == [CATEGORICAL, GAUSSIAN, GAUSSIAN, BERNOULLI]
    assert layout.width == 14
    assert len({layout, Layout(layout.spec), Layout(layout.spec, log_var_max=2.0)}) == 2
    after_noise = Layout("noise(uniform):5|categorical:3x2|uniform(-2,3):1")
    assert after_noise.columns == (slice(5, 8), slice(8, 11), slice(11, 12))
    assert (after_noise.noise, after_noise.normal, after_noise.width) == (5, False, 12)


def test_equal_neighbours_are_one_group():
    assert Layout("|".join(["categorical:10"] * 10)).groups == Layout("categorical:10x10").groups
    groups = Layout("gaussian:1|uniform(0,1):1|uniform(0,2):1x2|gaussian:1").groups
    assert [(g.length, g.first_code, g.first_column) for g in groups] == [(1, 0, 0), (1, 1, 1), (2, 2, 2), (1, 4, 4)]
    groups = Layout("categorical:3x2|bernoulli:1|categorical:4").groups
    assert [(group.first_class, group.codes) for group in groups if group.kind == CATEGORICAL] == [
        (0, slice(0, 2)),
        (6, slice(3, 4)),
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "cannot read ''"),
        ("gaussian", "cannot read 'gaussian'"),
        ("gaussian:3", "1 to 2 columns, not 3"),
        ("uniform:2", "1 column, not 2"),
        ("categorical:1", "2 to 16777216 columns, not 1"),
        ("normal:1", "'normal:1': accepted"),
        ("categorical(3):3", "accepted"),
        ("uniform(1,1):1", "low < high"),
        ("uniform(1):1", "accepted"),
        ("bernoulli(1.5):1", "lie in"),
        ("bernoulli(a):1", "'a'"),
        ("noise(normal):0", "no columns"),
        ("categorical:3|noise(normal):4", "'noise.normal.:4': accepted"),
    ],
)
def test_refusals_name_the_term(spec, message):
    with pytest.raises(ValueError, match=message) as error:
        Layout(spec)
    assert repr(spec) in str(error.value)


def test_bounds_of_a_log_variance_are_ordered():
    with pytest.raises(ValueError, match="min < max"):
        Layout("gaussian:2", log_var_min=1.0, log_var_max=-1.0)


def test_layout_module_needs_no_torch():
    code = (
        "import sys, types; package = types.ModuleType('gan_zoo_kernels');"
        "import importlib.util as u; spec = u.find_spec('gan_zoo_kernels');"
        "package.__path__ = spec.submodule_search_locations; sys.modules['gan_zoo_kernels'] = package;"
        "import gan_zoo_kernels.layout; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
