"""Every command: its output, exit code, files and imports."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from contextlib import chdir
from pathlib import Path

import pytest
from commandline import TINY, write_set, zoo, zoo_process

import gan_zoo
from gan_zoo import cli, registry
from gan_zoo.errors import TrainingError
from gan_zoo.resolve import resolve

LISTS = {
    "models": registry.models.entries,
    "trunks": registry.trunks.entries,
    "datasets": registry.datasets.entries,
    "loggers": registry.loggers.entries,
    "configs": registry.presets(),
}
LIGHT = [("--help",), ("models",), ("trunks",), ("datasets",), ("loggers",), ("configs",), ("completion", "bash")]
IMPORTS = "import pydantic, rich.console"
TIMES_THE_IMPORTS = {"completion": 10}
"""Maximum time of a light command, in multiples of its imports': typically 2 to 3; 5 for a completion script."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("data") / "set.npz")


@pytest.mark.parametrize("command", LISTS)
def test_a_list_has_a_line_for_each_name(command: str) -> None:
    ended = zoo(command)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert [line.split()[0] for line in lines] == list(LISTS[command])
    assert all(len(line.split()) > 2 for line in lines)
    assert not any("(from" in line for line in lines)


@pytest.mark.parametrize("command", LISTS)
def test_a_list_is_printed_as_json(command: str) -> None:
    ended = zoo(command, "--json")
    assert ended.code == 0
    rows = json.loads(ended.out)
    assert [row["name"] for row in rows] == list(LISTS[command])
    assert all(row["from"] == "gan-zoo" and row["summary"] for row in rows)


def test_a_preset_is_printed_as_it_is() -> None:
    ended = zoo("configs", "chairs-64")
    assert ended.code == 0
    assert ended.out == registry.presets()["chairs-64"].read_text(encoding="utf-8")
    assert tomllib.loads(ended.out)["model"] == "infogan"


def test_doctor_tells_versions_devices_and_kernels() -> None:
    told = json.loads(zoo("doctor", "--json").out)
    assert told["packages"]["gan-zoo"]
    assert told["packages"]["torch"]
    assert "fp32" in told["precisions"]["cpu"]
    assert told["kernels"]["cpu"].startswith("reference: ")
    plain = zoo("doctor")
    assert plain.code == 0
    for word in ("python ", "torch: ", "cpu: ", "kernels:", "reference: "):
        assert word in plain.out


def test_doctor_tells_which_kernels_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_ZOO_KERNELS", "reference")
    assert "GAN_ZOO_KERNELS=reference" in zoo("doctor").out


def test_help_names_every_command() -> None:
    ended = zoo("--help")
    assert ended.code == 0
    for command in cli.COMMANDS:
        assert f"{command} " in ended.out
    assert "gan-zoo train infogan" in ended.out


def test_help_groups_every_command_once() -> None:
    grouped = [command for commands in cli.GROUPS.values() for command in commands]
    assert grouped == list(cli.COMMANDS.values())
    told = zoo("--help").out
    for what, commands in cli.GROUPS.items():
        names = ", ".join(command.__name__ for command in commands)
        assert any(line.split() == [*what.split(), *names.split()] for line in told.splitlines())


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_tells_what_a_command_does_and_shows_examples(command: str) -> None:
    ended = zoo(command, "--help")
    assert ended.code == 0
    does, _, rest = ended.out.partition("\n\n")[2].partition("\n\n")
    assert does.rstrip().endswith(".")
    assert "Args:" not in ended.out
    if command not in ("models", "trunks", "loggers", "doctor"):
        assert f"examples:\n  gan-zoo {command}" in rest.replace('eval "$(', "")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
@pytest.mark.parametrize(("colour", "seen"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_sees_colours_unless_it_asks_for_none(colour: dict[str, str], seen: bool) -> None:
    ours, theirs = os.openpty()
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    subprocess.run(
        [sys.executable, "-m", "gan_zoo", "datasets", "--help"],
        env=plain | {"TERM": "xterm-256color"} | colour,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        check=False,
    )
    os.close(theirs)
    told = os.read(ours, 2**16).decode(errors="replace")
    os.close(ours)
    assert "--resolution" in told
    assert bool(re.search(r"\x1b\[[0-9;]*(3[0-7]|9[0-7]|38;)", told)) == seen


@pytest.mark.parametrize("command", [*cli.COMMANDS, "train"])
def test_every_command_has_help(command: str) -> None:
    ended = zoo(command, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"usage: gan-zoo {command}")
    assert "-h, --help" in ended.out


def test_the_help_of_train_shows_the_resolved_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    sngan = zoo("train", "sngan", "--config", "celeba-64", "--help").out
    plain = zoo("train", "infogan", "--help").out

    def default(text: str, flag: str) -> str:
        told = " ".join(text.replace("│", " ").split())
        return told.split(f"{flag} ", 1)[1].split("(default: ", 1)[1].split(")", 1)[0]

    assert default(sngan, "--training.discriminator-steps") == "5"
    assert default(plain, "--training.discriminator-steps") == "1"
    assert default(sngan, "--steps") == str(resolve("sngan", "celeba-64").training.steps)
    assert default(plain, "--steps") == str(resolve("infogan").training.steps)
    assert default(plain, "--trunk.name") == "infogan-mnist"
    assert default(plain, "--infogan.codes").strip("'") == "categorical:10, uniform:2"
    assert "--infogan.codes" not in sngan


@pytest.mark.parametrize("args", LIGHT, ids=" ".join)
def test_a_light_command_does_not_import_torch(args: tuple[str, ...]) -> None:
    ended = zoo_process(*args, python=("-X", "importtime"))
    imported = {line.rpartition("|")[2].strip() for line in ended.err.splitlines()}
    assert ended.code == 0
    assert "gan_zoo.cli" in imported
    assert not imported & {"torch", "numpy", "PIL", "matplotlib"}
    assert not any(name.startswith("gan_zoo.models.infogan.model") for name in imported)


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="needs the resource usage of a child")
@pytest.mark.parametrize("args", LIGHT, ids=" ".join)
def test_a_light_command_starts_fast(args: tuple[str, ...]) -> None:
    def user_seconds(*words: str) -> float:
        child = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        return usage.ru_utime

    bound = TIMES_THE_IMPORTS.get(args[0], 5)
    assert any(user_seconds("-m", "gan_zoo", *args) < bound * user_seconds("-c", IMPORTS) for _ in range(3))


def test_common_flags_have_short_names(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = zoo(
        *("train", "gan", "--steps", "3", "--batch-size", "6", "--seed", "5", "--precision", "bf16"),
        *("--device", "cpu", "--data", data, "--out", run, "--log-every", "2", "--checkpoint-every", "1"),
        *("--trunk.width", "2"),
    )
    assert ended.code == 0, ended.err
    tree = tomllib.loads((run / "config.toml").read_text())
    training, logging = tree["training"], tree["logging"]
    assert (training["steps"], training["batch_size"], training["precision"]) == (3, 6, "bf16")
    assert (tree["seed"], training["device"], tree["data"]["name"]) == (5, "cpu", str(data))
    assert (logging["log_every"], logging["checkpoint_every"]) == (2, 1)
    lines = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert lines == [2, 3]
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step-00000002", "step-00000003"]


def test_long_names_work_like_the_short(data: Path) -> None:
    long = ("--training.steps", "7", "--training.batch-size", "8", "--data.name", data, "--logging.log-every", "3")
    short = ("--steps", "7", "--batch-size", "8", "--data", data, "--log-every", "3")
    shown = [zoo("train", "gan", "--dry-run", *flags) for flags in (long, short)]
    assert shown[0].code == 0
    assert shown[0] == shown[1]


def test_a_dry_run_shows_the_tree_and_the_sizes_and_makes_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = zoo("train", "infogan", "--data", data, *TINY, "--dry-run", "--out", "run")
    assert (ended.code, ended.err) == (0, "")
    tree = tomllib.loads(ended.out)
    assert (tree["model"], tree["training"]["steps"], tree["data"]["resolution"]) == ("infogan", 2, 28)
    model = gan_zoo.create(config=tree, model="infogan")
    for part, module in model.named_children():
        assert f"# {part}: {sum(p.numel() for p in module.parameters()):,} parameters" in ended.out
    for line in (
        "steps = 2  # flag",
        "noise = 128  # preset folder-64",
        "resolution = 28  # data",
        "seed = 0  # default",
    ):
        assert line in ended.out.splitlines()
    assert ended.out.startswith("# no --config given: using preset folder-64 without its [data]\n")
    assert not any(tmp_path.iterdir())


def test_an_empty_list_is_a_flag_s_value_as_it_is_a_setting_s() -> None:
    for words in (("--trunk.widths", "[]"), ("--trunk.widths=[]",), ("--trunk.widths",)):
        ended = zoo("train", "stylegan2", *words, "--trunk.width", "1", "--steps", "1", "--dry-run")
        assert ended.code == 0, ended.err
        assert "widths = []" in ended.out


def test_a_swap_that_leaves_something_open_is_told(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "theirs.toml"
    file.write_text(f'model = "wgan-gp"\n[data]\nname = "{data}"\n')
    ended = zoo("train", "infogan", "--config", file, *TINY, "--out", tmp_path / "run")
    assert ended.code == 0, ended.err
    assert ended.out.startswith(f"{file} was written for wgan-gp and leaves settings open whose defaults differ: ")
    named = zoo("train", "infogan", "--config", "wgan-gp", "--data", data, *TINY, "--dry-run")
    assert 'discriminator_norm = "layer"  # model wgan-gp' in named.out
    assert not named.out.startswith("#")


def test_a_run_that_began_with_batch_norm_under_a_penalty_goes_on(data: Path, tmp_path: Path) -> None:
    flags = ("train", "gan", "--data", data, *TINY, "--loss.gradient-penalty", "1", "--out", tmp_path / "run")
    assert zoo(*flags).code == 0  # no norm at all
    file = tmp_path / "run" / "config.toml"
    file.write_text(file.read_text().replace('discriminator_norm = "none"', 'discriminator_norm = "batch"'))
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    assert zoo("train", "--resume", "--out", tmp_path / "run").code == 0


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("train", "infogan", "--help"), ["generator_norm", "(Mescheder"]),
        (("datasets",), ["28?28", "svhn"]),
        (("bench", "--help"), ["usage"]),
    ],
)
def test_a_character_that_the_output_lacks_is_replaced(args: tuple[str, ...], words: list[str], encoding: str) -> None:
    ended = zoo(*args, encoding=encoding)
    assert (ended.code, ended.err) == (0, "")
    if encoding == "ascii":
        assert all(word.replace("_", "-") in ended.out for word in words)


def test_training_prints_to_an_output_that_lacks_a_character(data: Path, tmp_path: Path) -> None:
    args = ("train", "gan", "--data", data, *TINY, "--trunk.name", "mlp", "--out", tmp_path / "rün→")
    first = zoo(*args, encoding="ascii")
    assert (first.code, first.err) == (0, "")
    assert "r?n?" in first.out
    ended = zoo("train", "--resume", "--out", tmp_path / "rün→", "--steps", "4", encoding="ascii")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("changed: training.steps: 2 ? 4")
    told = zoo("runs", tmp_path / "rün→", encoding="ascii")
    assert "r?n?" in told.out
    refused = zoo("sample", tmp_path / "nö→", encoding="ascii")
    assert (refused.code, refused.err.count("\n")) == (2, 1)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a run of this process and one of a process without a terminal, and what the latter printed."""
    place = tmp_path_factory.mktemp("trained")
    args = ("train", "infogan", "--data", data, *TINY, "--log-every", "1", "--trunk.name", "mlp")
    with chdir(place):
        first = zoo(*args)
    second = zoo_process(*args, cwd=place)
    assert [(ended.code, ended.err) for ended in (first, second)] == [(0, "")] * 2
    return place, second.out


def test_training_without_a_terminal_prints_plain_lines(trained: tuple[Path, str]) -> None:
    _, out = trained
    assert "\x1b" not in out
    assert "\r" not in out
    lines = out.splitlines()
    assert lines[0] == "no --config given: using preset folder-64 without its [data]"
    assert lines[1].startswith("training infogan in ")
    assert [line.split()[:2] for line in lines[2:4]] == [["step", "1/2"], ["step", "2/2"]]
    for word in ("images/s", "D ", "G ", "L_I c1 ", "/2.30  c2 ", " nats", "left"):
        assert word in lines[3]


def test_training_ends_by_naming_its_folder_and_pictures_that_exist(trained: tuple[Path, str]) -> None:
    place, out = trained
    named = dict(line.split(": ", 1) for line in out.splitlines()[-3:])
    assert list(named) == ["run", "samples", "traversal"]
    assert named["run"] == str(Path("runs") / "infogan-set-002")
    assert (place / named["run"]).is_dir()
    for picture in (named["samples"], named["traversal"]):
        assert picture.startswith(named["run"])
        assert (place / picture).read_bytes().startswith(b"\x89PNG")


def test_a_run_folder_holds_what_it_should(trained: tuple[Path, str]) -> None:
    place, _ = trained
    assert sorted(path.name for path in (place / "runs").iterdir()) == ["infogan-set-001", "infogan-set-002"]
    run = place / "runs" / "infogan-set-001"
    assert {path.name for path in run.iterdir()} == {
        "config.toml", "environment.json", "data.json", "metrics.jsonl", "checkpoints", "samples", ".lock"
    }  # fmt: skip
    assert {"python", "packages", "device"} <= json.loads((run / "environment.json").read_text()).keys()


def test_runs_of_one_seed_are_the_same(trained: tuple[Path, str]) -> None:
    place, _ = trained
    first, second = (place / "runs" / f"infogan-set-{k:03d}" / "checkpoints" / "step-00000002" for k in (1, 2))
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()


def test_a_model_without_codes_names_no_traversal(data: Path, tmp_path: Path) -> None:
    ended = zoo("train", "dcgan", "--data", data, *TINY, "--out", tmp_path / "run")
    assert ended.code == 0, ended.err
    assert [line.split(": ")[0] for line in ended.out.splitlines()[-2:]] == ["run", "samples"]


def test_a_run_goes_on_from_its_own_tree(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert zoo("train", "gan", "--data", data, *TINY, "--seed", "3", "--out", out).code == 0
    ended = zoo("train", "--resume", "--out", out, "--steps", "4")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("changed: training.steps: 2 → 4\nresuming gan in ")
    tree = tomllib.loads((out / "config.toml").read_text())
    assert (tree["seed"], tree["training"]["steps"], tree["training"]["batch_size"]) == (3, 4, 4)
    lines = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert lines == [2, 4]


def test_resume_of_a_folder_that_is_not_there_yet_begins(data: Path, tmp_path: Path) -> None:
    ended = zoo("train", "gan", "--data", data, *TINY, "--resume", "--out", tmp_path / "run")
    assert ended.code == 0, ended.err
    assert "\ntraining gan in " in ended.out


def test_resume_of_a_folder_that_is_not_there_needs_a_model(tmp_path: Path) -> None:
    ended = zoo("train", "--resume", "--out", tmp_path / "typo")
    assert ended.code == 2
    assert "holds no run to resume" in ended.err
    assert not (tmp_path / "typo").exists()


def test_the_version_is_told() -> None:
    assert zoo("--version").out == "gan-zoo 0.1.0\n"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (TrainingError("a loss was not finite"), 1, "gan-zoo: a loss was not finite"),
        (KeyboardInterrupt(), 130, "gan-zoo: interrupted"),
        (KeyboardInterrupt("stopped at step 3,\nsaved"), 130, "gan-zoo: stopped at step 3, saved"),
        (OSError(28, "No space left on device"), 2, "gan-zoo: [Errno 28] No space left on device"),
    ],
)
def test_an_end_has_its_exit_code_and_one_line(
    error: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("gan_zoo.training.environment.version_of", fail)
    ended = zoo("doctor")
    assert (ended.code, ended.err.strip()) == (code, line)


def test_a_loss_that_is_not_finite_ends_with_exit_code_1(data: Path, tmp_path: Path) -> None:
    ended = zoo(
        *("train", "gan", "--data", data, *TINY, "--log-every", "1", "--out", tmp_path / "run"),
        *("--optimizer.discriminator-lr", "1e38", "--optimizer.generator-lr", "1e38"),
        *("--loss.adversarial", "wasserstein"),
    )
    assert ended.code == 1, ended
    assert len(ended.err.strip().splitlines()) == 1
    assert "was not finite at step" in ended.err


def test_a_closed_pipe_is_no_error() -> None:
    shell = f'"{sys.executable}" -m gan_zoo configs chairs-64 | true; exit "${{PIPESTATUS[0]}}"'
    if not (bash := shutil.which("bash")):
        pytest.skip("there is no bash")
    ended = subprocess.run([bash, "-c", shell], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_package_offers_its_functions_without_importing_torch() -> None:
    told = subprocess.run(
        [sys.executable, "-c", "import sys, gan_zoo; print(dir(gan_zoo), 'torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.strip() == "['__version__', 'create', 'invert', 'load', 'load_latents', 'save_latents', 'train'] False"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = gan_zoo.nothing
