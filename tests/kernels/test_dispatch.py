"""Which path is taken, and the reason given."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from gan_zoo_kernels import dispatch, implementation_for
from gan_zoo_kernels.fused.tiles import MAX_COLUMNS

INSTALLED = pytest.mark.skipif(not dispatch.TRITON_IS_INSTALLED, reason="needs triton")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    monkeypatch.delenv("GAN_ZOO_KERNELS", raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    dispatch.choose_once.cache_clear()  # a device's properties and what is installed are read once a process
    yield
    dispatch.choose_once.cache_clear()


def test_a_cpu_takes_the_reference():
    choice = implementation_for("cpu")
    assert choice.path == "reference"
    assert "CPU" in choice.reason or "not installed" in choice.reason


def test_the_argument_goes_before_the_environment(monkeypatch):
    monkeypatch.setenv("GAN_ZOO_KERNELS", "triton")
    choice = implementation_for("cpu", "reference")
    assert (choice.path, choice.reason) == ("reference", "implementation='reference' selects it")
    with pytest.raises(RuntimeError, match="GAN_ZOO_KERNELS=triton requires the Triton kernels, but"):
        implementation_for("cpu")


@pytest.mark.parametrize("value", ["cuda", "Triton"])
def test_unknown_names_are_refused(value, monkeypatch):
    with pytest.raises(ValueError, match=f"'{value}': implementation must be one of auto, reference, triton"):
        implementation_for("cpu", value)
    monkeypatch.setenv("GAN_ZOO_KERNELS", value)
    with pytest.raises(ValueError, match=f"GAN_ZOO_KERNELS={value}: implementation must be"):
        implementation_for("cpu")


@INSTALLED
def test_a_gpu_takes_the_kernels(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(major=9, minor=0))
    assert implementation_for("cuda:0").path == "triton"
    assert "float64" in implementation_for("cuda:0", dtype=torch.float64).reason
    assert implementation_for("cuda:0", columns=MAX_COLUMNS).path == "triton"
    assert implementation_for("cuda:0", columns=MAX_COLUMNS + 1).path == "reference"
    with pytest.raises(RuntimeError, match="float64"):
        implementation_for("cuda:0", "triton", dtype=torch.float64)
    dispatch.choose_once.cache_clear()
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(major=7, minor=5))
    assert implementation_for("cuda:0").reason == "compute capability 7.5 is older than 8.0"


def test_without_triton_everything_runs_on_the_reference(monkeypatch):
    monkeypatch.setattr(dispatch, "TRITON_IS_INSTALLED", False)
    assert implementation_for("cuda:0").reason == "triton is not installed"
    code = (
        "import sys; sys.modules['triton'] = None; import torch, gan_zoo_kernels as k;"
        "layout = k.Layout('categorical:3');"
        "loss = k.q_head_nll(torch.zeros(2, 3), torch.zeros(2, 1), layout);"
        "assert abs(loss.item() - 1.0986123) < 1e-6;"
        "assert k.implementation_for('cuda').reason == 'triton is not installed'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_does_not_import_triton():
    code = "import sys, gan_zoo_kernels; assert 'triton' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
