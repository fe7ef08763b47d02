"""Training on several ranks equals training in one process, and ends on all ranks together."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from gan_zoo_kernels import leaky_relu
from narrow import narrow_config, narrow_train, one_line, spoil_loss
from PIL import Image
from ranks import command, ended, start
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gan_zoo.config_text import to_toml
from gan_zoo.data.batches import batches
from gan_zoo.data.dataset import open_dataset
from gan_zoo.errors import InputError, TrainingError
from gan_zoo.models.gan.model import Objective
from gan_zoo.training.batch_norm import SyncBatchNorm, synchronise
from gan_zoo.training.best import find_best
from gan_zoo.training.build import new_state
from gan_zoo.training.checkpoint import newest_whole, read_state
from gan_zoo.training.iterations import Iterations
from gan_zoo.training.loggers.jsonlines import read_records
from gan_zoo.training.ranks import ALONE, Ranks, joined
from gan_zoo.training.run import Run, open_run
from gan_zoo.training.step import MicroBatch
from gan_zoo.trunks.layers import activated

CPU = torch.device("cpu")
NO_NORM = {"trunk__generator_norm": "none", "trunk__discriminator_norm": "none", "infogan__head_norm": "none"}
STEPS = 12


def trained(folder: Path, world: int, *words: str, model: str = "infogan", **settings: Any) -> Run:
    """A run on `world` ranks by the command line; all of them end well."""
    config = folder.with_suffix(".toml")
    config.write_text(to_toml(narrow_config(model, **{"trunk__name": "infogan-mnist", **settings})))
    ranks = start(command, world, folder.with_suffix(".said"), ["train", "--config", str(config), *to(folder), *words])
    assert ended(ranks) == [0] * world, said(folder)
    return open_run(folder)


def to(folder: Path) -> tuple[str, ...]:
    return ("--out", str(folder))


def said(folder: Path) -> list[str]:
    """What each rank wrote on its terminal."""
    return [path.read_text() for path in sorted(folder.with_suffix(".said").iterdir())]


def tensors(run: Run, file: str, step: int = STEPS) -> dict[str, Tensor]:
    return load_file(run.checkpoint(step) / f"{file}.safetensors")


def difference(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The mean difference of the elements of a tensor, of the tensor that differs the most.

    Not the largest difference: Adam makes a full step, 1e-3, of a gradient that consists of rounding errors.
    """
    assert a.keys() == b.keys()
    return max((a[name].double() - b[name].double()).abs().mean().item() for name in a)


def losses(run: Run) -> list[dict[str, float]]:
    return [{name: v for name, v in line.items() if name != "images_per_second"} for line in run.metrics()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("alone") / "run"
    settings = {"training__steps": STEPS, "logging__checkpoint_every": 3, "trunk__name": "infogan-mnist", **NO_NORM}
    return narrow_train("infogan", folder, **settings)


EVERY_3 = {"training__steps": STEPS, "logging__checkpoint_every": 3}


def test_two_ranks_give_the_weights_of_one_process(tmp_path: Path, alone: Run) -> None:
    run = trained(tmp_path / "run", 2, **EVERY_3, **NO_NORM)
    for file in ("model", "ema", "optimizer"):
        assert difference(tensors(run, file), tensors(alone, file)) < 1e-6
    for two, one in zip(losses(run), losses(alone), strict=True):
        assert two == pytest.approx(one, abs=1e-6)
    assert {p.name for p in run.folder.rglob("*")} == {p.name for p in alone.folder.rglob("*")} | {"traversal.png"}
    lead, other = said(run.folder)
    assert "run: " in lead
    assert other == ""


@pytest.mark.parametrize(
    "settings",
    [
        {"training__accumulate": 2},
        {"data__augment": "flip, rotate, contrast", "loss__gradient_penalty": 1.0},
        {"training__update": "simultaneous", "training__discriminator_steps": 2},
        {"training__precision": "fp16", "training__on_nan": "skip"},
        {"infogan__consistency": 1.0, "data__warp": "shift:0.1", "infogan__prior": "learned"},
        {"model": "infogan-cr", "infogan_cr__codes": "categorical:3, uniform:2"},
    ],
    ids=str,
)
def test_so_they_do_whatever_the_step_is_made_of(settings: dict[str, Any], tmp_path: Path) -> None:
    """Also where what is minimised is no mean over images: of a batch's mean code, and of pairs."""
    settings = {"model": "infogan", "training__steps": 3, **settings}
    settings |= {key.replace("infogan", settings["model"].replace("-", "_")): norm for key, norm in NO_NORM.items()}
    one = narrow_train(out=tmp_path / "one", trunk__name="infogan-mnist", **settings)
    two = trained(tmp_path / "two", 2, **settings)
    near = 2e-4 if "training__precision" in settings else 1e-6  # with half of each batch they would be 1e-3 apart
    models = [tensors(run, "model", 3) for run in (two, one)]
    variances = [model.pop("q.variances") for model in models]
    assert difference(*models) < near
    torch.testing.assert_close(*variances, atol=1e-3, rtol=0)  # micro-batches update them one after another


def test_stylegan2_s_running_numbers_are_of_whole_batches(tmp_path: Path) -> None:
    """The mean path length, D's sign on reals, and the probability that follows it."""
    settings = {"training__steps": 3, "stylegan2_ada__path_length_interval": 1, "data__augment": "shift"}
    settings |= {"trunk__name": "stylegan2", "data__resolution": 8, "training__batch_size": 16}
    one = narrow_train("stylegan2-ada", tmp_path / "one", **settings)
    two = trained(tmp_path / "two", 2, model="stylegan2-ada", training__accumulate=2, **settings)
    whole = tensors(one, "model", 3)
    assert difference(tensors(two, "model", 3), whole) < 1e-6
    assert whole["mean_path"] > 0 and whole["augmentation.sign"] != 0
    for a, b in zip(losses(one), losses(two), strict=True):
        assert b == pytest.approx(a, abs=1e-5)


@pytest.mark.parametrize("conditional", [False, True])
def test_batch_norm_over_ranks_gives_the_first_steps_of_one_process(conditional: bool, tmp_path: Path) -> None:
    """Up to rounding, and at first only: Adam makes full steps of gradients that consist of rounding errors.

    With gradient checkpointing the backward pass averages over the ranks, too.
    """
    both = ("infogan__conditional", "training__gradient_checkpointing")
    settings = {"training__steps": 4, **dict.fromkeys(both, conditional)}
    one = narrow_train("infogan", tmp_path / "one", trunk__name="infogan-mnist", **settings)
    two = trained(tmp_path / "two", 2, **settings)
    for a, b in zip(losses(one)[:3], losses(two)[:3], strict=True):
        assert b == pytest.approx(a, abs=2e-5)
    apart = trained(tmp_path / "apart", 2, training__sync_batch_norm=False, **settings)
    assert abs(losses(one)[0]["discriminator/adversarial"] - losses(apart)[0]["discriminator/adversarial"]) > 1e-4


@pytest.mark.slow
def test_evaluations_on_two_ranks_are_those_of_one_process_and_rank_0_keeps_the_best(tmp_path: Path) -> None:
    evaluated = {"logging__evaluate_every": 2, "logging__best": "frechet", "logging__features": "random"}
    settings = {"training__steps": 4, **evaluated, **NO_NORM}
    run = trained(tmp_path / "run", 2, **settings)
    one = narrow_train("infogan", tmp_path / "one", trunk__name="infogan-mnist", **settings)
    found, expected = ({line["step"]: _evaluations(line) for line in losses(each)} for each in (run, one))
    assert all(found[step].keys() == {"mi", "mi/c1", "mi/c2", "mi/c3", "frechet/random"} for step in (2, 4))
    for step, values in expected.items():
        assert found[step] == pytest.approx(values, abs=1e-3, rel=1e-3), step
    best, expected_best = (read_state(find_best(each.checkpoints))["best"] for each in (run, one))
    assert best == expected_best | {"value": pytest.approx(expected_best["value"], rel=1e-3)}
    lead, other = said(run.folder)
    assert lead.count("evaluating every 2 steps") == 1
    assert other == ""


def _evaluations(line: dict[str, float]) -> dict[str, float]:
    return {name.removeprefix("evaluation/"): value for name, value in line.items() if name.startswith("evaluation/")}


def test_ranks_start_at_a_source_s_weights_also_when_they_are_resumed_at_step_0(tmp_path: Path) -> None:
    networks = {"trunk__name": "infogan-mnist", "training__steps": 2, **NO_NORM}
    source = narrow_train("infogan", tmp_path / "source", seed=1, **networks).folder
    settings = {"training__steps": 2, **NO_NORM}
    one = trained(tmp_path / "one", 1, "--from", str(source), **settings)
    two = trained(tmp_path / "two", 2, "--from", str(source), **settings)
    assert difference(tensors(one, "model", 2), tensors(two, "model", 2)) < 1e-6
    shutil.rmtree(two.checkpoint(2))
    shutil.rmtree(source)
    words = ["train", "--resume", *to(two.folder)]
    assert ended(start(command, 2, two.folder.with_suffix(".said"), words)) == [0, 0], said(two.folder)
    assert difference(tensors(one, "model", 2), tensors(two, "model", 2)) < 1e-6


def normalise(out: Path) -> None:
    """Batch norm of this rank's half of a batch, its slopes, and the slope of a slope."""
    with joined(CPU, 30) as ranks:
        norm = nn.Sequential(nn.BatchNorm2d(3))
        norm.load_state_dict({f"0.{name}": value for name, value in load_file(out / "norm.safetensors").items()})
        synchronise(norm, ranks)
        assert isinstance(norm[0], SyncBatchNorm)
        results = slopes(norm, load_file(out / "batch.safetensors")["x"].chunk(ranks.world)[ranks.rank])
        weights = [results["weight"], results["bias"]]
        ranks.average(weights)
        save_file(results, out / f"{ranks.rank}.safetensors")


def slopes(norm: nn.Module, x: Tensor) -> dict[str, Tensor]:
    x = x.clone().requires_grad_()
    y = norm(x)
    (slope,) = torch.autograd.grad((y**3).sum(), x, create_graph=True)
    norm.zero_grad()
    (slope.square().mean() + (y**4).mean()).backward()
    found = dict(norm.named_parameters())
    weight, bias = (found[name].grad for name in ("0.weight", "0.bias"))
    assert x.grad is not None and weight is not None and bias is not None
    buffers = {name.removeprefix("0."): value.clone() for name, value in norm.named_buffers()}
    return {"y": y.detach(), "slope": slope.detach(), "x": x.grad, "weight": weight, "bias": bias, **buffers}


def test_batch_norm_over_ranks_is_batch_norm_of_the_whole_batch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = nn.Sequential(nn.BatchNorm2d(3))
    whole[0].weight.data.uniform_(0.5, 2)
    whole[0].bias.data.normal_()
    x = torch.randn(8, 3, 4, 4) * 2 + 5
    save_file({"x": x}, tmp_path / "batch.safetensors")
    save_file(dict(whole[0].state_dict()), tmp_path / "norm.safetensors")
    assert ended(start(normalise, 2, tmp_path / "said", tmp_path)) == [0, 0], said(tmp_path / "run")
    expected, parts = slopes(whole, x), [load_file(tmp_path / f"{k}.safetensors") for k in range(2)]
    for name in ("y", "slope"):
        assert torch.allclose(torch.cat([part[name] for part in parts]), expected[name], atol=1e-4, rtol=1e-4)
    joint = torch.cat([part["x"] for part in parts]) / 2  # each rank's loss is a mean over its half
    assert torch.allclose(joint, expected["x"], atol=1e-4, rtol=1e-3)
    for part in parts:
        for name in ("weight", "bias"):
            assert torch.allclose(part[name], expected[name], atol=1e-3, rtol=1e-3)
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            assert torch.allclose(part[name], expected[name], rtol=1e-5)


def test_batch_norm_that_is_synchronised_alone_or_at_rest_is_batch_norm() -> None:
    torch.manual_seed(0)
    plain, x = nn.BatchNorm1d(5, momentum=None), torch.randn(6, 5)
    synced = SyncBatchNorm(plain, ALONE)
    assert torch.allclose(synced(x), plain(x), atol=1e-6)
    assert torch.allclose(synced.running_var, plain.running_var)  # type: ignore[arg-type]
    assert torch.allclose(synced.eval()(x), plain.eval()(x), atol=1e-6)
    assert synced.state_dict().keys() == plain.state_dict().keys()
    synced.train().track_running_stats = False
    before = synced.running_mean.clone()  # type: ignore[union-attr]
    synced(x)
    assert torch.equal(synced.running_mean, before)  # type: ignore[arg-type]


def test_batch_norm_over_ranks_keeps_the_activation_of_the_norm_that_it_replaces() -> None:
    torch.manual_seed(0)
    network, x = nn.Sequential(*activated("batch", 5, 1, 0.1)), torch.randn(6, 5)
    expected = network(x)
    assert (expected < 0).any()
    synchronise(network, ALONE)
    assert isinstance(network[0], SyncBatchNorm)
    assert torch.allclose(network(x), expected, atol=1e-6)
    assert torch.equal(network.eval()(x), leaky_relu(network[0]._normalise(x), 0.1))
    assert (network(x) < 0).any()


class Unheard(Ranks):
    """One of several ranks without the others."""

    def average(self, tensors: Any) -> None:
        pass


def test_ranks_share_one_batch_and_its_latents_without_overlap() -> None:
    config = narrow_config("infogan", training__accumulate=2, training__batch_size=24)
    data = open_dataset(config.data).train
    seen: dict[int, list[tuple[Tensor, Tensor]]] = {}
    for world in (1, 3):
        shown: list[tuple[Tensor, Tensor]] = []
        for rank in range(world):
            iterations = Iterations(new_state(config, CPU, Unheard(rank, world)), data)

            def play(
                _: Any, __: Any, micro_batches: list[MicroBatch], *, shown: Any = shown, **___: Any
            ) -> list[Objective]:
                shown.extend((micro.batch.images, micro.latents.input) for micro in micro_batches)
                return [Objective({"none": torch.zeros(())})]

            iterations.update = play
            next(iterations)
        seen[world] = shown
    for index in range(2):
        whole, shared = (torch.cat([pair[index] for pair in seen[world]]) for world in (1, 3))
        assert torch.equal(whole, shared)
        assert len(torch.unique(shared.flatten(1), dim=0)) == 24


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_is_shared_by_ranks_without_overlap_and_goes_on_at_its_place(workers: int, tmp_path: Path) -> None:
    for k in range(30):
        Image.new("L", (28, 28), k).save(tmp_path / f"{k:02d}.png")
    data = narrow_config("gan", data__name="folder", data__path=str(tmp_path), data__memory=0.0).data
    split = open_dataset(data.model_copy(update={"classes": None})).train
    assert not isinstance(split.images, Tensor)

    def shown(rank: int, world: int, start: int, steps: int) -> list[list[int]]:
        made = batches(
            split,
            seed=3,
            batch_size=6 // world,
            device="cpu",
            start_step=start,
            rank=rank,
            world=world,
            workers=workers,
        )
        found = [((next(made).images[:, 0, 0, 0] + 1) * 127.5).round().int().tolist() for _ in range(steps)]
        made.close()
        return found

    whole = shown(0, 1, 0, 5)
    assert sorted(chain(*whole)) == list(range(30))  # an epoch: each image once
    first, second = shown(0, 2, 0, 5), shown(1, 2, 0, 5)
    assert [a + b for a, b in zip(first, second, strict=True)] == whole
    assert shown(1, 2, 3, 2) == second[3:]
    assert [list(chain(*parts)) for parts in zip(*(shown(k, 3, 2, 3) for k in range(3)), strict=True)] == whole[2:]


def until(folder: Path, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < deadline, said(folder)
        time.sleep(0.02)


def endless(folder: Path, **settings: Any) -> list[Any]:
    """Two ranks of a run that will not end by itself, past its first checkpoint."""
    settings = {"training__steps": 10**6, "logging__checkpoint_every": 3, **NO_NORM, **settings}
    config = folder.with_suffix(".toml")
    config.write_text(to_toml(narrow_config("infogan", trunk__name="infogan-mnist", **settings)))
    ranks = start(command, 2, folder.with_suffix(".said"), ["train", "--config", str(config), *to(folder)])
    until(folder, lambda: newest_whole(folder / "checkpoints")[0] is not None)
    return ranks


@pytest.mark.parametrize(("killed", "world"), [(1, 1), (0, 2), (1, 4)])
def test_a_rank_that_dies_ends_the_others_and_the_run_goes_on_on_any_number_of_ranks(
    killed: int, world: int, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    ranks = endless(folder)
    ranks[killed].kill()
    begun = time.monotonic()
    codes = ended(ranks, 30)
    assert time.monotonic() - begun < 10
    assert codes[killed] == -signal.SIGKILL
    assert codes[1 - killed] == 1
    line = said(folder)[1 - killed].splitlines()[-1]
    assert re.fullmatch(
        rf"gan-zoo: rank {1 - killed} of 2: another rank has ended or does not answer; continue with --resume", line
    )
    newest, _ = newest_whole(folder / "checkpoints")
    assert newest is not None
    last = int(newest.name.removeprefix("step-")) + 3
    words = ["train", "--resume", *to(folder), "--steps", str(last)]
    assert ended(start(command, world, folder.with_suffix(".said"), words)) == [0] * world, said(folder)
    run = open_run(folder)
    one = narrow_train("infogan", tmp_path / "one", trunk__name="infogan-mnist", training__steps=last, **NO_NORM)
    assert difference(tensors(run, "model", last), tensors(one, "model", last)) < 1e-5
    assert [line["step"] for line in run.metrics()] == list(range(1, last + 1))


def test_a_rank_that_does_not_answer_ends_the_others_within_the_timeout(tmp_path: Path) -> None:
    ranks = endless(tmp_path / "run", training__rank_timeout=3.0)
    os.kill(ranks[1].pid, signal.SIGSTOP)
    begun = time.monotonic()
    ranks[0].join(30)
    assert 1 < time.monotonic() - begun < 12
    assert ranks[0].exitcode == 1
    assert "another rank has ended or does not answer" in said(tmp_path / "run")[0].splitlines()[-1]
    ranks[1].kill()
    ended(ranks)


SAID = {
    "[pair.cc:537] Read error [127.0.0.1]:59050: Connection reset by peer. This is typically caused by …": "",
    "[pair.cc:553] Connection closed by peer [127.0.0.1]:59549.": "",
    "[unbound_buffer.cc:78] Timed out waiting 4000ms for recv operation to complete": "",
    "Broken pipe": "",
    "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=5)": "",
    "NCCL error in: ProcessGroupNCCL.cpp:123\nncclRemoteError: A call failed possibly due to a network error": "",
    "ProcessGroupGloo::allreduce: unsupported reduction operation\nfor these": "unsupported reduction operation;",
    "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory": "can't allocate memory;",
    "NCCL error: invalid usage (run with NCCL_DEBUG=WARN for details)": "NCCL error: invalid usage",
    "CUDA out of memory. Tried to allocate 2.00 GiB": "CUDA out of memory.",
}


@pytest.mark.parametrize("said", SAID)
def test_another_rank_is_gone_only_where_it_is(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(torch.distributed, "all_reduce", fails)
    for exchange in (lambda ranks: ranks.average([torch.ones(2)]), lambda ranks: ranks.vote(True)):
        with pytest.raises(TrainingError) as error:
            exchange(Ranks(1, 2))
        line = one_line(error)
        assert line.startswith("rank 1 of 2: ")
        assert line.endswith("; continue with --resume")
        assert (SAID[said] or "another rank has ended") in line
        assert ("another rank has ended" in line) is (not SAID[said])


@pytest.mark.parametrize("asked", [0, 1])
def test_a_signal_to_one_rank_saves_and_ends_all_at_one_step(asked: int, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    ranks = endless(folder)
    os.kill(ranks[asked].pid, signal.SIGTERM)
    assert ended(ranks, 30) == [130, 130]
    newest, complaints = newest_whole(folder / "checkpoints")
    assert newest is not None
    assert not complaints
    step = int(newest.name.removeprefix("step-"))
    assert said(folder)[0].splitlines()[-1].startswith(f"gan-zoo: stopped at step {step} and saved; resume with")
    assert said(folder)[1] == ""
    assert open_run(folder).metrics()[-1]["step"] == step


def spoiled(folder: Path, on_nan: str) -> None:
    """A training whose second rank meets a NaN at its third step."""
    with pytest.MonkeyPatch.context() as patch:
        if os.environ["RANK"] == "1":
            spoil_loss(patch, steps={2})
        settings = {"training__steps": 5, "training__on_nan": on_nan, "logging__log_every": 5, **NO_NORM}
        narrow_train("infogan", folder, **settings)


def test_a_fault_of_one_rank_is_a_fault_of_all(tmp_path: Path) -> None:
    stopped = start(spoiled, 2, tmp_path / "stop.said", tmp_path / "stop", "stop")
    assert ended(stopped) == [1, 1]
    for text in said(tmp_path / "stop"):
        assert "TrainingError: discriminator/adversarial was not finite at step 3" in text
    assert ended(start(spoiled, 2, tmp_path / "skip.said", tmp_path / "skip", "skip")) == [0, 0], said(
        tmp_path / "skip"
    )
    (line,) = open_run(tmp_path / "skip").metrics()
    assert line["skipped"] == 1
    assert all(value.isfinite().all() for value in tensors(open_run(tmp_path / "skip"), "model", 5).values())


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def test_the_launcher_s_command_trains_and_a_stop_is_saved_whoever_else_is_told(tmp_path: Path) -> None:
    """SIGTERM to the whole group, as job schedulers send it, while saving is slow."""
    folder, slow = tmp_path / "run", tmp_path / "slow.py"
    slow.write_text(
        "import time, sys\n"
        "from gan_zoo import cli\n"
        "from gan_zoo.training.state import State\n"
        "save = State.save\n"
        "State.save = lambda *args, **keywords: (time.sleep(2), save(*args, **keywords))[1]\n"
        "cli.main(sys.argv[1:])\n"
    )
    words = ["train", "infogan", "--trunk.width", "4", "--batch-size", "8", "--device", "cpu", "--log-every", "1"]
    launcher = subprocess.Popen(
        [*TORCHRUN, str(slow), *words, "--steps", "100000", *to(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while len(read_records(folder / "metrics.jsonl")) < 3:
        assert time.monotonic() < deadline and launcher.poll() is None, launcher.communicate()
        time.sleep(0.05)
    ranks = [int(line) for line in children_of(launcher.pid)]
    assert len(ranks) == 2
    for process in (*ranks, launcher.pid):
        os.kill(process, signal.SIGTERM)
    _, complaints = launcher.communicate(timeout=60)
    newest, damaged = newest_whole(folder / "checkpoints")
    assert newest is not None, complaints
    assert not damaged
    assert f"gan-zoo: stopped at step {int(newest.name.removeprefix('step-'))} and saved" in complaints
    assert open_run(folder).metrics()[-1]["step"] == int(newest.name.removeprefix("step-"))


def children_of(process: int) -> list[str]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=True)
    return found.stdout.split()


def test_what_all_ranks_refuse_is_told_once(tmp_path: Path) -> None:
    words = ["train", "infogan", "--batch-size", "7", "--device", "cpu", *to(tmp_path / "run")]
    assert ended(start(command, 2, tmp_path / "run.said", words)) == [2, 2]
    lead, other = said(tmp_path / "run")
    assert lead == "gan-zoo: training.batch_size = 7 is not divisible by training.accumulate = 1 x 2 ranks\n"
    assert other == ""
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    (tmp_path / "run/thesis.txt").write_text("mine")
    words[3] = "8"
    assert ended(start(command, 2, tmp_path / "run.said", words)) == [2, 2]
    lead, other = said(tmp_path / "run")
    assert lead == f"gan-zoo: {tmp_path / 'run'} is not empty; resume its run with --resume, or choose another folder\n"
    assert other == ""


def unlike(folder: Path) -> None:
    """Ranks with different configurations."""
    narrow_train("gan", folder, training__steps=1, trunk__width=4 + int(os.environ["RANK"]))


def test_ranks_whose_trees_or_data_differ_are_refused(tmp_path: Path) -> None:
    ranks = start(unlike, 2, tmp_path / "run.said", tmp_path / "run")
    assert ended(ranks) == [1, 1]
    assert "InputError: rank 1: the configuration or the data differs from rank 0's" in said(tmp_path / "run")[1]
    assert not (tmp_path / "run/metrics.jsonl").exists()


def test_what_the_environment_says_of_ranks_has_to_be_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(InputError, match="WORLD_SIZE must be a number"), joined(CPU, 1):
        pass


def test_an_environment_that_is_not_the_launcher_s_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with (
        pytest.raises(InputError, match=r"torchrun's environment variables are incomplete: .*MASTER_ADDR") as error,
        joined(CPU, 1),
    ):
        pass
    assert one_line(error)


def test_compiling_on_several_ranks_is_refused() -> None:
    with pytest.raises(InputError, match=r"training\.compile does not support several ranks \(2 here\)"):
        new_state(narrow_config("gan", training__compile=True), CPU, Unheard(0, 2))


def test_one_process_is_alone_and_exchanges_nothing() -> None:
    with joined(CPU, 1) as ranks:
        assert ranks is ALONE
    value = torch.ones(2)
    ALONE.average([value])
    assert torch.equal(value, torch.ones(2))
    assert ALONE.minimum(value) is value
    assert ALONE.from_first([3, 4]) == [3, 4]
    assert ALONE.text_from_first("runs/ä") == "runs/ä"
    assert ALONE.vote(True)
    assert not ALONE.vote(False)
