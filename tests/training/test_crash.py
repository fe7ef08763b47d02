"""Runs that are killed or find the disk full at any moment resume to the same result."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any

import pytest
from faulty import FREEING, Fault, FaultyFiles
from narrow import NARROW, narrow_config, narrow_train, one_line, same_bytes
from PIL import Image
from soak import SOAK

from gan_zoo import api, cli
from gan_zoo.config_text import to_toml
from gan_zoo.errors import InputError, TrainingError
from gan_zoo.files import PARTIAL
from gan_zoo.training.checkpoint import newest_whole
from gan_zoo.training.interrupt import Interruption
from gan_zoo.training.lock import locked
from gan_zoo.training.loggers.jsonlines import read_records
from gan_zoo.training.run import Run, find, is_free
from gan_zoo.training.state import State

KILLS = 3 * SOAK
OFTEN = {"logging__checkpoint_every": 6, "logging__log_every": 3}
LONG = OFTEN | {"training__steps": 150, "logging__sample_every": 30}
SHORT = OFTEN | {"training__steps": 12, "logging__sample_every": 12, "logging__keep": 1}
NEEDED = [
    "gan_zoo.training.loop",
    "gan_zoo.analysis.traverse",
    "gan_zoo.analysis.monitor",
    "torchmetrics.image.fid",
    "gan_zoo.models.infogan.model",
    "torch._dynamo",
    "test_crash",
]
"""What a life imports: once, before it is forked."""


def go_on(model: str, folder: Path, settings: Mapping[str, int | str]) -> Run:
    """Begin a run or go on with it: the same call each time, as the command with --resume is."""
    ground = NARROW | {key.replace("__", "."): value for key, value in settings.items()}
    return api.train(model, {}, out=folder, resume=True, quiet=True, **ground)


def live(folder: Path, fault: Fault, at: int) -> None:
    """One life of a run; a fault comes at an operation on files since it began to write its first checkpoint."""
    with FaultyFiles(folder.parent, fault, at, since="mkdir .step").installed():
        go_on("infogan", folder, LONG)


def forked(work: Callable[..., None], *arguments: object) -> BaseProcess:
    """A new process, not started yet."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(NEEDED)
    return processes.Process(target=work, args=arguments)


def told(run: Run) -> list[dict[str, float]]:
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in run.metrics()]


def assert_same_end(run: Run, whole: Run) -> None:
    last = f"checkpoints/step-{run.config.training.steps:08d}"
    assert same_bytes(run.folder / last, whole.folder / last)
    assert told(run) == told(whole)
    assert not list(run.folder.rglob(f"*{PARTIAL}*"))


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return narrow_train("infogan", tmp_path_factory.mktemp("whole") / "run", **LONG)


def end_of(process: BaseProcess) -> bool:
    """Whether the process reached the end of the run instead of being killed."""
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode == 0


def test_a_run_killed_at_random_times_ends_bit_identical(tmp_path: Path, never_killed: Run) -> None:
    random, kills, runs = Random(0), 0, 0
    while kills < KILLS:
        folder = tmp_path / str(runs) / "run"
        folder.parent.mkdir()
        runs, ended = runs + 1, False
        while kills < KILLS and not ended:
            process = forked(live, folder, "none", 0)
            process.start()
            process.join(0.2 + 0.6 * random.random())
            process.kill()
            ended = end_of(process)
            kills += not ended
        assert_same_end(go_on("infogan", folder, LONG), never_killed)
        shutil.rmtree(folder)
    print(f"{kills} kills at random times survived in {runs} runs")


def test_a_run_killed_at_each_step_of_writing_a_checkpoint_ends_bit_identical(
    tmp_path: Path, never_killed: Run
) -> None:
    """Before an operation on files or in the middle of it, each fifth one, and all of them with `make soak`; every life
    goes on from the one before.
    """
    folder = tmp_path / "run"
    with FaultyFiles(tmp_path, "none", 0, since="mkdir .step").installed() as counted:
        go_on("infogan", folder, LONG | {"training__steps": 12, "logging__keep": 1})
    second = [k for k, name in enumerate(map(str, counted.places)) if "step-00000012." in name]
    writing = range(1 + second[-1] - second[0] + 8)  # with the renaming, and the older one's removal
    assert len(writing) > 25
    assert {"mkdir", "create", "write", "fsync", "rename", "unlink", "rmdir"} <= set(counted.done)
    shutil.rmtree(folder)
    tried = writing if SOAK > 1 else writing[::5]
    kills = 0
    for at in tried:
        for fault in ("kill", "kill in the middle") if SOAK > 1 else (("kill", "kill in the middle")[at % 2],):
            process = forked(live, folder, fault, at)
            process.start()
            if end_of(process):  # the run has come to its end: another one
                assert_same_end(go_on("infogan", folder, LONG), never_killed)
                shutil.rmtree(folder)
            else:
                kills += 1
    assert kills >= len(tried) - 3
    assert_same_end(go_on("infogan", folder, LONG), never_killed)
    print(f"{kills} kills at {len(tried)} operations of a checkpoint's writing survived")


EVALUATED = SHORT | {"logging__evaluate_every": 3, "logging__features": "random", "logging__best": "frechet"}


def live_with_best(folder: Path, fault: Fault, at: int) -> None:
    """One life of a run that keeps its best checkpoint; counted from its first copy of one on."""
    with FaultyFiles(folder.parent, fault, at, since="mkdir .best").installed():
        go_on("infogan", folder, EVALUATED)


@pytest.mark.slow
def test_a_run_killed_while_the_best_checkpoint_is_copied_ends_with_the_same_best(tmp_path: Path) -> None:
    with FaultyFiles(tmp_path / "whole", "none", 0, since="mkdir .best").installed() as counted:
        whole = go_on("infogan", tmp_path / "whole/run", EVALUATED)
    within = [place.relative_to(tmp_path.resolve()) for place in counted.places]
    copies = [k for k, place in enumerate(within) if "checkpoints/best" in str(place) or "/.best." in str(place)]
    assert {"mkdir", "create", "write", "fsync", "rename", "unlink", "rmdir"} <= {counted.done[k] for k in copies}
    places = copies if SOAK > 1 else copies[len(copies) // 4 :: len(copies) // 2]
    for at in places:
        folder = tmp_path / str(at) / "run"
        folder.parent.mkdir()
        process = forked(live_with_best, folder, ("kill", "kill in the middle")[at % 2], at)
        process.start()
        assert not end_of(process)
        find(folder / "checkpoints/best")  # it is there at any instant
        run = go_on("infogan", folder, EVALUATED)
        assert same_bytes(run.checkpoints / "best", whole.checkpoints / "best"), at
        assert_same_end(run, whole)


def test_whatever_is_renamed_is_on_the_disk_and_the_lines_of_metrics_before_it(tmp_path: Path) -> None:
    """Power may go at any instant: what a name stands for is synced before it, and the folder that holds it after."""
    with FaultyFiles(tmp_path, "none", 0).installed() as files:
        narrow_train("gan", tmp_path / "runs/run", **SHORT)
    history = list(zip(files.done, files.places, strict=True))
    renamed = 0
    for k, (operation, place) in enumerate(history):
        if operation in ("rename", "replace"):
            renamed += 1
            written = {path for what, path in history[:k] if what == "write" and path.is_relative_to(place)}
            for path in {*written, place}:
                last = max((n for n, (what, p) in enumerate(history[:k]) if what == "write" and p == path), default=-1)
                assert ("fsync", path) in history[last + 1 : k], path
            assert ("fsync", place.parent) in history[k:]
        if operation == "rename":
            log = tmp_path / "runs/run/metrics.jsonl"
            assert max(n for n in range(k) if history[n] == ("fsync", log)) > max(
                n for n in range(k) if history[n] == ("write", log)
            )
        if operation == "mkdir" and PARTIAL not in place.name and (operation, place) not in history[:k]:
            assert ("fsync", place.parent) in history[k:]
    assert renamed >= 5


def failure_of(train: Callable[[], Run]) -> Exception | None:
    try:
        train()
    except (TrainingError, OSError) as error:
        return error
    return None


def test_a_disk_that_fills_up_at_any_write_leaves_what_was_there_and_nothing_to_clean_up(tmp_path: Path) -> None:
    whole = narrow_train("gan", tmp_path / "whole", **SHORT)
    with FaultyFiles(tmp_path / "counted", "none", 0).installed() as counted:
        narrow_train("gan", tmp_path / "counted", **SHORT)
    assert {"create", "write", "fsync", "mkdir", "rename", "replace"} <= set(counted.done)
    places = range(0, len(counted.done), 1 if SOAK > 1 else 5)
    refused = 0
    for at in places:
        folder = tmp_path / f"full-{at}"
        with FaultyFiles(folder, "full", at).installed() as files:
            error = failure_of(partial(narrow_train, "gan", folder, **SHORT))
        if error is None:
            assert all(operation in FREEING for operation in files.done[at:])
        else:
            refused += 1
            assert "No space left on device" in str(error)
            assert "\n" not in str(error)
        assert not list(folder.rglob(f"*{PARTIAL}*"))
        newest, complaints = newest_whole(folder / "checkpoints")
        assert not complaints
        assert newest is not None or "rename" not in files.done[:at]
        assert (folder / "config.toml").exists() or is_free(folder)
        assert_same_end(go_on("gan", folder, SHORT), whole)
        shutil.rmtree(folder)
    assert refused > len(places) * 0.7
    print(f"a full disk at {refused} of {len(counted.done)} operations survived")


ENDLESS = {"training__steps": 10**6, "logging__checkpoint_every": 5, "logging__log_every": 5}


def command(words: list[str], complaints: Path, saving: float) -> None:
    """The command line, in a process of its own, whose saving takes some seconds more once it is asked to stop."""
    os.dup2(os.open(complaints, os.O_WRONLY | os.O_CREAT), 2)
    save, restore = State.save, Interruption._first

    def asked(self: Interruption, *signal: Any) -> None:
        State.save = lambda *args, **keywords: (time.sleep(saving), save(*args, **keywords))[1]  # type: ignore[assignment]
        restore(self, *signal)

    Interruption._first = asked  # type: ignore[method-assign]
    cli.main(words)


@contextmanager
def begun(folder: Path, saving: float = 0.0) -> Iterator[BaseProcess]:
    """A training in a process of its own, past its first checkpoints, that will not end by itself before the block."""
    words = ["train", "infogan", "--config", str(folder / "endless.toml"), "--out", str(folder / "run")]
    (folder / "endless.toml").write_text(to_toml(narrow_config("infogan", **ENDLESS)))
    process = forked(command, words, folder / "complaints", saving)
    process.start()
    while newest_whole(folder / "run/checkpoints")[0] is None:
        assert process.exitcode is None, (folder / "complaints").read_text()
        time.sleep(0.02)
    try:
        yield process
    finally:
        process.kill()
        process.join()


@pytest.fixture
def training(tmp_path: Path) -> Iterator[BaseProcess]:
    with begun(tmp_path) as process:
        yield process


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_leaves_at_once_and_the_run_goes_on(first: signal.Signals, tmp_path: Path) -> None:
    with begun(tmp_path, saving=600) as training:
        assert training.pid is not None
        os.kill(training.pid, first)
        time.sleep(0.5)
        os.kill(training.pid, signal.SIGINT)
        asked = time.monotonic()
        training.join(30)
        assert time.monotonic() - asked < 10
    assert training.exitcode == 130
    assert (tmp_path / "complaints").read_text() == "gan-zoo: interrupted\n"
    newest, complaints = newest_whole(tmp_path / "run/checkpoints")
    assert newest is not None
    assert not complaints
    steps = int(newest.name.removeprefix("step-")) + 3
    resumed = api.train(out=tmp_path / "run", resume=True, quiet=True, steps=steps)
    assert resumed.metrics()[-1]["step"] == steps
    assert not list(resumed.folder.rglob(f"*{PARTIAL}*"))


@pytest.mark.parametrize("more", [signal.SIGTERM, signal.SIGHUP])
def test_further_signals_that_are_no_ctrl_c_do_not_keep_a_run_from_being_saved(
    more: signal.Signals, tmp_path: Path
) -> None:
    with begun(tmp_path, saving=1) as training:
        assert training.pid is not None
        for number in (signal.SIGTERM, more, more):
            os.kill(training.pid, number)
            time.sleep(0.1)
        training.join(60)
    assert training.exitcode == 130
    assert "saved; resume with" in (tmp_path / "complaints").read_text()


def test_sigterm_saves_and_leaves_within_seconds(tmp_path: Path, training: BaseProcess) -> None:
    asked = time.monotonic()
    training.terminate()
    training.join(30)
    print(f"SIGTERM to the end: {time.monotonic() - asked:.2f} s")
    assert time.monotonic() - asked < 5
    assert training.exitcode == 130
    newest, _ = newest_whole(tmp_path / "run/checkpoints")
    assert newest is not None
    step = int(newest.name.removeprefix("step-"))
    assert (tmp_path / "complaints").read_text() == (
        f"gan-zoo: stopped at step {step} and saved; resume with: gan-zoo train --resume --out {tmp_path / 'run'}\n"
    )


def test_a_second_process_in_a_run_folder_is_refused_until_the_first_is_gone(
    tmp_path: Path, training: BaseProcess
) -> None:
    for resume, refusal in ((True, "run is in use by another training process; wait for it"), (False, "is not empty")):
        with pytest.raises(InputError, match=refusal) as error:
            narrow_train("infogan", tmp_path / "run", resume=resume, training__steps=3)
        assert one_line(error)
    training.kill()
    training.join()
    newest, _ = newest_whole(tmp_path / "run/checkpoints")
    assert newest is not None
    api.train(out=tmp_path / "run", resume=True, quiet=True, steps=int(newest.name.removeprefix("step-")) + 1)


def stream(folder: Path) -> None:
    multiprocessing.set_start_method("fork", force=True)  # as anywhere but in a process that was forked by a server
    config = {"data.name": "folder", "data.path": str(folder / "images"), "data.memory": 0.0, "data.workers": 1}
    api.train("gan", {}, out=folder / "run", quiet=True, **(NARROW | config | {"training.steps": 10**6}))


def test_the_lock_does_not_outlive_its_owner_in_the_processes_that_decode_for_it(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for k in range(16):
        Image.new("L", (28, 28), k).save(tmp_path / f"images/{k}.png")
    process = forked(stream, tmp_path)
    process.start()
    while len(read_records(tmp_path / "run/metrics.jsonl")) < 3:
        assert process.exitcode is None
        time.sleep(0.02)
    process.kill()
    process.join()
    with locked(tmp_path / "run"):
        pass


def test_two_that_begin_in_one_folder_do_not_share_it(tmp_path: Path) -> None:
    with locked(tmp_path / "run"), pytest.raises(InputError, match="is in use by another training process"):
        narrow_train("gan", tmp_path / "run", training__steps=1)
    assert is_free(tmp_path / "run")
    narrow_train("gan", tmp_path / "run", training__steps=1)
