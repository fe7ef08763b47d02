"""The kernels compile within the rules, and the written table is of these sources.

In processes of their own: ahead-of-time compilation is impossible where the interpreter is switched on.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments):
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "benchmarks.kernels_compiled", *arguments]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    return result.stdout


def run_script(name):
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    script = Path(__file__).parent / name
    result = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


def test_the_written_table_is_of_these_sources_and_within_the_rules():
    assert "within the rules" in run("--check")


def test_a_spread_of_cases_compiles_within_the_rules():
    pytest.importorskip("triton")
    output = run("--every", "34", "--targets", "sm_90", "gfx942")
    launches = int(output.split()[0])
    assert launches >= 5, output


def test_batch_sizes_share_one_variant_of_every_kernel():
    pytest.importorskip("triton")
    made = json.loads(run_script("compile_batches.py"))
    assert len(made) == 7
    assert all(counts == [4, 1] for counts in made.values()), made


@pytest.mark.slow
def test_variants_that_the_table_leaves_out_compile():
    pytest.importorskip("triton")
    assert int(run_script("compile_variants.py").split()[0]) >= 60
