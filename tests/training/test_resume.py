"""A run that was stopped and resumed equals the uninterrupted run, bit for bit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from commandline import zoo
from narrow import NARROW, around_steps, narrow_train, one_line, same_bytes

from gan_zoo import api
from gan_zoo.errors import InputError
from gan_zoo.training import loop
from gan_zoo.training.run import Run
from gan_zoo.training.state import State

STEPS, EVERY, CRASH = 13, 4, 7
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "infogan": ("infogan", {"infogan__codes": "categorical:10, uniform:1, bernoulli:2"}),
    "learned prior": ("infogan", {"infogan__prior": "learned", "infogan__codes": "uniform:1, categorical:4x2"}),
    "learned prior, consistent, in fp16": (
        "infogan",
        {"infogan__prior": "learned", "infogan__consistency": 1.0, "data__warp": "shift:0.1"}
        | {"training__precision": "fp16", "training__discriminator_steps": 2},
    ),
    "channels last, simultaneous": (
        "infogan",
        {"training__channels_last": True, "training__update": "simultaneous", "trunk__name": "infogan-mnist"},
    ),
    "infogan in bf16": ("infogan", {"training__precision": "bf16"}),
    "infogan in fp16": ("infogan", {"training__precision": "fp16"}),
    "infogan-cr, scheduled": (
        "infogan-cr",
        {
            "infogan_cr__contrast_after": 2,
            "infogan_cr__contrast_gap": 1.5,
            "infogan_cr__contrast_gap_after": 9,
        },
    ),
    "infogan-cr, stopped before its regulariser": ("infogan-cr", {"infogan_cr__contrast_after": 9}),
    "sngan, stopped before its generator's first turn": ("sngan", {"training__discriminator_steps": 5}),
    "wgan-gp": ("wgan-gp", {}),
    "sngan, lazy penalty": ("sngan", {"loss__r1": 1.0, "loss__penalty_interval": 3, "trunk__name": "dcgan"}),
    "augmented": ("infogan", {"data__augment": "shift:0.2, rotate:0.3, brightness, cutout"}),
    "schedule, no average": ("gan", {"optimizer__schedule": "cosine", "optimizer__warmup": 5, "training__ema": 0.0}),
    "accumulated": ("acgan", {"training__accumulate": 2}),
}


class CrashError(RuntimeError):
    pass


def train_until_a_crash_before(step: int, model: str, out: Path, *, resume: bool = False, **settings: Any) -> None:
    def crashing(play: Any, state: State) -> Any:
        if state.step == step:
            raise CrashError
        return play()

    with pytest.MonkeyPatch.context() as patch:
        around_steps(patch, crashing)
        with pytest.raises(CrashError):
            narrow_train(model, out, resume=resume, **settings)


def told(run: Run) -> list[dict[str, float]]:
    """The metrics without the speed."""
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in run.metrics()]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in ("infogan in fp16", "wgan-gp"))) for name in RUNS]
)
def test_resumed_is_the_same_as_never_stopped(name: str, tmp_path: Path) -> None:
    model, settings = RUNS[name]
    settings = settings | {"training__steps": STEPS, "logging__checkpoint_every": EVERY}
    whole = narrow_train(model, tmp_path / "whole", **settings)
    train_until_a_crash_before(CRASH, model, tmp_path / "stopped", **settings)
    assert [path.name for path in (tmp_path / "stopped/checkpoints").iterdir()] == ["step-00000004"]
    resumed = narrow_train(None, tmp_path / "stopped", resume=True)
    last = f"checkpoints/step-{STEPS:08d}"
    assert same_bytes(whole.folder / last, resumed.folder / last)
    names = {path.name for path in (whole.folder / last).iterdir()}
    average = {"ema.safetensors"} if whole.config.training.ema else set()
    assert names == {"model.safetensors", "optimizer.safetensors", "state.json", "SHA256SUMS"} | average
    assert [line["step"] for line in resumed.metrics()] == list(range(1, STEPS + 1))
    assert told(resumed) == told(whole)


def test_a_run_extended_by_steps_goes_on_where_it_ended(tmp_path: Path) -> None:
    whole = narrow_train("infogan", tmp_path / "whole", training__steps=9)
    narrow_train("infogan", tmp_path / "short", training__steps=5)
    longer = narrow_train(None, tmp_path / "short", resume=True, training__steps=9)
    last = "checkpoints/step-00000009"
    assert same_bytes(whole.folder / last, longer.folder / last)
    assert longer.config.training.steps == 9
    assert "steps = 9" in (tmp_path / "short/config.toml").read_text()


def test_a_run_that_is_done_says_so_and_stays_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = narrow_train("gan", folder, training__steps=2)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for words in (["train", "--resume", "--out", str(folder)], ["train", "gan", "--resume", "--out", str(folder)]):
        ended = zoo(*words)
        assert ended.code == 0
        assert f"{folder} is complete: 2 steps; train on with a larger --steps" in ended.out
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    shutil.rmtree(run.samples)
    assert zoo("train", "--resume", "--out", str(folder)).code == 0


def test_a_start_that_fails_leaves_the_run_as_it_was(tmp_path: Path) -> None:
    run = narrow_train("gan", tmp_path / "run", training__steps=2)
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    with pytest.raises(InputError):
        narrow_train(None, run.folder, resume=True, training__steps=4, trunk__width=8)
    train_until_a_crash_before(2, "gan", run.folder, resume=True, training__steps=4, seed=5, training__batch_size=16)
    assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before
    train_until_a_crash_before(3, "gan", run.folder, resume=True, training__steps=4)
    assert "steps = 4" in (run.folder / "config.toml").read_text()


SCHEDULES: dict[str, tuple[list[str], list[str], str]] = {
    "linear": (
        ["schedule=linear"],
        [],
        "from 0.1 of their maximum in step 10 to 0.5 in the next: the schedule (linear, warmup 0)",
    ),
    "cosine": (
        ["schedule=cosine"],
        [],
        "from 0.0245 of their maximum in step 10 to 0.5 in the next: the schedule (cosine, warmup 0)",
    ),
    "warm-up": (
        [],
        ["warmup=22"],
        "from 1 of their maximum in step 10 to 0.5 in the next: the schedule (constant, warmup 22)",
    ),
    "constant": ([], [], ""),
    "warm-up that is past": (["warmup=3"], ["warmup=4"], ""),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_learning_rates_that_jump_are_told_with_both_figures(name: str, tmp_path: Path) -> None:
    first, then, told = SCHEDULES[name]

    def settings(words: list[str]) -> dict[str, str | int]:
        pairs = (word.split("=") for word in words)
        return {f"optimizer__{key}": int(value) if value.isdigit() else value for key, value in pairs}

    narrow_train("gan", tmp_path / "run", training__steps=10, **settings(first))
    flags = [f"--optimizer.{word}" for word in then]
    ended = zoo("train", "--resume", "--out", tmp_path / "run", "--steps", "20", *flags)
    assert ended.code == 0
    line = f"the learning rates change {told} now spans 20 steps\n"
    assert line in ended.out if told else "learning rates" not in ended.out


def test_another_seed_is_told_for_what_it_is(tmp_path: Path) -> None:
    narrow_train("gan", tmp_path / "run", training__steps=2)
    ended = zoo("train", "--resume", "--out", tmp_path / "run", "--seed", "5")
    assert "ignored, since all steps are done: seed: 0 → 5\n" in ended.out
    assert "seed = 0" in (tmp_path / "run/config.toml").read_text()
    ended = zoo("train", "--resume", "--out", tmp_path / "run", "--seed", "5", "--steps", "3")
    assert (
        "batches, latents and augmentation follow seed 5 from here on; the weights were initialised with seed 0"
        in ended.out
    )
    assert "seed = 5" in (tmp_path / "run/config.toml").read_text()


def test_resuming_a_folder_that_is_empty_begins_the_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    settings = NARROW | {"training.steps": 2}
    run = api.train("gan", {}, out=tmp_path / "run", resume=True, quiet=True, **settings)
    assert [line["step"] for line in run.metrics()] == [1, 2]


def test_a_run_without_a_checkpoint_yet_is_begun_anew(tmp_path: Path) -> None:
    train_until_a_crash_before(3, "gan", tmp_path, training__steps=5)
    run = narrow_train(None, tmp_path, resume=True)
    assert [line["step"] for line in run.metrics()] == [1, 2, 3, 4, 5]


def test_what_cannot_be_resumed_is_refused_in_one_line(tmp_path: Path) -> None:
    run = narrow_train("gan", tmp_path / "done", training__steps=2)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("mine")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"model": "dcgan", "out": run.folder}, "is a run of model gan, not dcgan"),
        ({"model": "gan", "out": tmp_path / "other"}, "is not a run folder: it has no config.toml"),
        ({"model": None, "out": run.folder, "training__steps": 4, "trunk__width": 8}, "the model needs"),
    ]
    for keywords, expected in cases:
        with pytest.raises(InputError) as error:
            narrow_train(resume=True, **keywords)
        assert expected in one_line(error)
    with pytest.raises(InputError, match="--resume requires the run's folder"):
        api.train("gan", resume=True, quiet=True)
    with pytest.raises(InputError, match="is not empty"):
        narrow_train("gan", run.folder, training__steps=2)
    assert run.metrics()[-1]["step"] == 2


def test_a_log_line_that_a_crash_cut_off_is_dropped(tmp_path: Path) -> None:
    train_until_a_crash_before(6, "gan", tmp_path, training__steps=8, logging__checkpoint_every=4)
    log = tmp_path / "metrics.jsonl"
    log.write_text(log.read_text().removesuffix("\n") + '\n{"step": 4, "ima')
    run = narrow_train(None, tmp_path, resume=True)
    assert [line["step"] for line in run.metrics()] == list(range(1, 9))


KILLED = {"training__steps": 150, "logging__checkpoint_every": 10, "logging__log_every": 5}


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return narrow_train("infogan", tmp_path_factory.mktemp("whole") / "run", **KILLED)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "gan_zoo", "train", *words]


def start(folder: Path, like: Run) -> subprocess.Popen[str]:
    """A training of `like`'s tree in a process of its own, past its first checkpoint."""
    process = subprocess.Popen(
        command("infogan", "--config", str(like.folder / "config.toml"), "--out", str(folder)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob("checkpoints/step-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def end_of(run: Run) -> Path:
    return run.checkpoints / f"step-{KILLED['training__steps']:08d}"


def test_a_killed_process_resumed_by_the_command_ends_bit_identical(tmp_path: Path, never_stopped: Run) -> None:
    folder = tmp_path / "run"
    process = start(folder, never_stopped)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    stopped = Run(folder, never_stopped.config)
    assert not end_of(stopped).exists()
    resumed = subprocess.run(
        command("--resume", "--out", str(folder)), check=True, capture_output=True, text=True, timeout=120
    )
    assert f"run: {folder}" in resumed.stdout
    assert same_bytes(end_of(stopped), end_of(never_stopped))
    assert told(stopped) == told(never_stopped)


def test_ctrl_c_saves_says_how_to_resume_and_exits_130(tmp_path: Path, never_stopped: Run) -> None:
    folder = tmp_path / "run"
    process = start(folder, never_stopped)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=120)
    reached = sorted(folder.glob("checkpoints/step-*"))[-1]
    assert reached.name < end_of(never_stopped).name
    assert process.returncode == 130
    assert complaint == (
        f"gan-zoo: stopped at step {int(reached.name.removeprefix('step-'))} and saved; "
        f"resume with: gan-zoo train --resume --out {folder}\n"
    )
    resumed = narrow_train(None, folder, resume=True)
    assert same_bytes(end_of(resumed), end_of(never_stopped))
    steps = [line["step"] for line in resumed.metrics()]
    assert steps == sorted({*range(5, 151, 5), int(reached.name.removeprefix("step-"))})


@pytest.mark.parametrize("asking", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_step_s_losses_are_logged_still_ends_in_a_saved_run(
    asking: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signals = iter([asking])

    def interrupted(*_: Any) -> None:
        for number in signals:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(loop, "_picture", interrupted)
    with pytest.raises(loop.Interrupted) as stop:
        narrow_train("gan", tmp_path, training__steps=9, logging__sample_every=3)
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    assert f"stopped at step {int(checkpoint.name.removeprefix('step-'))} and saved" in str(stop.value)


def test_signals_are_answered_as_before_once_the_run_has_ended(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    narrow_train("gan", tmp_path, training__steps=1)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_signal_that_was_ignored_stays_so_as_under_nohup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        monkeypatch.setattr(loop, "_picture", lambda *_: os.kill(os.getpid(), signal.SIGHUP))
        run = narrow_train("gan", tmp_path, training__steps=3, logging__sample_every=1)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert run.metrics()[-1]["step"] == 3
