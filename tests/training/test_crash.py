"""A run that is killed, or finds the disk full, at any moment: it goes on by the same command to the same end."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random

import pytest
from faulty import FREEING, Fault, FaultyFiles
from narrow import NARROW, narrow_config, narrow_train, one_line, same_bytes
from PIL import Image

from gan_zoo import api, cli
from gan_zoo.errors import InputError, TrainingError
from gan_zoo.files import PARTIAL
from gan_zoo.resolve import to_toml
from gan_zoo.training.checkpoint import newest_whole
from gan_zoo.training.lock import locked
from gan_zoo.training.loggers.jsonlines import read_records
from gan_zoo.training.run import Run, is_free

SOAK = int(os.environ.get("GAN_ZOO_SOAK", "1"))
KILLS = 20 * SOAK
OFTEN = {"logging__checkpoint_every": 6, "logging__log_every": 3}
LONG = OFTEN | {"training__steps": 150, "logging__sample_every": 30}
SHORT = OFTEN | {"training__steps": 12, "logging__sample_every": 12, "logging__keep": 1}
NEEDED = ["gan_zoo.commands", "gan_zoo.models.infogan.model", "torch._dynamo", "test_crash"]
"""What a life imports: once, before it is forked."""


def go_on(model: str, folder: Path, settings: dict[str, int]) -> Run:
    """Begin a run or go on with it: the same call each time, as the command with --resume is."""
    ground = NARROW | {key.replace("__", "."): value for key, value in settings.items()}
    return api.train(model, {}, out=folder, resume=True, quiet=True, **ground)


def live(folder: Path, fault: Fault, at: int) -> None:
    """One life of a run."""
    with FaultyFiles(folder.parent, fault, at).installed():
        go_on("infogan", folder, LONG)


def forked(work: Callable[..., None], *arguments: object) -> BaseProcess:
    """A process of its own, not started yet."""
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


@pytest.mark.parametrize("seed", [0, 1])  # as many kills each
def test_a_run_killed_at_random_moments_ends_bit_identical(seed: int, tmp_path: Path, never_killed: Run) -> None:
    """Half of the deaths come at a random time, half at an operation on a file: before it, or in its middle."""
    random, kills, runs = Random(seed), 0, 0
    while kills < KILLS:
        folder = tmp_path / str(runs) / "run"
        folder.parent.mkdir()
        runs, ended = runs + 1, False
        while kills < KILLS and not ended:
            timed = random.random() < 0.5
            fault: Fault = "none" if timed else random.choice(["kill", "kill in the middle"])
            process = forked(live, folder, fault, random.randrange(100))
            process.start()
            if timed:
                process.join(0.2 + 0.6 * random.random())
                process.kill()
            process.join(120)
            ended = process.exitcode == 0
            assert ended or process.exitcode == -signal.SIGKILL
            kills += not ended
        assert_same_end(go_on("infogan", folder, LONG), never_killed)
        shutil.rmtree(folder)
    print(f"{kills} kills survived in {runs} runs")


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
    places = range(0, len(counted.done), 1 if SOAK > 1 else 3)
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
    print(f"a full disk at {refused} of {len(counted.done)} operations")


ENDLESS = {"training__steps": 10**6, "logging__checkpoint_every": 5, "logging__log_every": 5}


def command(words: list[str], complaints: Path) -> None:
    """The command line, in a process of its own."""
    os.dup2(os.open(complaints, os.O_WRONLY | os.O_CREAT), 2)
    cli.main(words)


@pytest.fixture
def training(tmp_path: Path) -> Iterator[BaseProcess]:
    """A training in a process of its own, past its first checkpoints, that will not end by itself."""
    words = ["train", "infogan", "--config", str(tmp_path / "endless.toml"), "--out", str(tmp_path / "run")]
    (tmp_path / "endless.toml").write_text(to_toml(narrow_config("infogan", **ENDLESS)))
    process = forked(command, words, tmp_path / "complaints")
    process.start()
    while newest_whole(tmp_path / "run/checkpoints")[0] is None:
        assert process.exitcode is None, (tmp_path / "complaints").read_text()
        time.sleep(0.02)
    yield process
    process.kill()
    process.join()


def test_a_second_ctrl_c_leaves_at_once_and_the_run_goes_on(tmp_path: Path, training: BaseProcess) -> None:
    assert training.pid is not None
    os.kill(training.pid, signal.SIGINT)
    time.sleep(0.002)
    os.kill(training.pid, signal.SIGINT)
    training.join(5)
    assert training.exitcode == 130
    (line,) = (tmp_path / "complaints").read_text().splitlines()
    assert line == "gan-zoo: interrupted" or "saved; go on with" in line  # where the first had been obeyed by then
    newest, complaints = newest_whole(tmp_path / "run/checkpoints")
    assert newest is not None
    assert not complaints
    steps = int(newest.name.removeprefix("step-")) + 3
    resumed = api.train(out=tmp_path / "run", resume=True, quiet=True, steps=steps)
    assert resumed.metrics()[-1]["step"] == steps
    assert not list(resumed.folder.rglob(f"*{PARTIAL}*"))


def test_sigterm_saves_and_leaves_within_seconds(tmp_path: Path, training: BaseProcess) -> None:
    asked = time.monotonic()
    training.terminate()
    training.join(30)
    assert time.monotonic() - asked < 5
    assert training.exitcode == 130
    newest, _ = newest_whole(tmp_path / "run/checkpoints")
    assert newest is not None
    step = int(newest.name.removeprefix("step-"))
    assert (tmp_path / "complaints").read_text() == (
        f"gan-zoo: stopped at step {step}, saved; go on with: gan-zoo train --resume --out {tmp_path / 'run'}\n"
    )


def test_a_second_process_in_a_run_folder_is_refused_until_the_first_is_gone(
    tmp_path: Path, training: BaseProcess
) -> None:
    for resume, refusal in ((True, "run is being trained by another process; wait for it"), (False, "is not empty")):
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
    with locked(tmp_path / "run"), pytest.raises(InputError, match="is being trained by another process"):
        narrow_train("gan", tmp_path / "run", training__steps=1)
    assert is_free(tmp_path / "run")
    narrow_train("gan", tmp_path / "run", training__steps=1)
