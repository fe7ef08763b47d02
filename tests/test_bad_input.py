"""Invalid input exits with code 2 and one line, and leaves no files."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from commandline import TINY, Ended, write_set, zoo, zoo_process

import gan_zoo

TRAIN = ("train", "infogan", "--data", "set.npz", *TINY)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset, a run, and other files."""
    place = tmp_path_factory.mktemp("place")
    data = write_set(place / "set.npz")
    gan_zoo.train("infogan", out=place / "run", quiet=True, data=data, steps=1, batch_size=4, width=2, device="cpu")
    gan_zoo.train("gan", out=place / "plain", quiet=True, data=data, steps=1, batch_size=4, width=2, device="cpu")
    (place / "damaged.toml").write_text("model = 'infogan'\n[data\n")
    (place / "odd.toml").write_text("[training]\nstep = 3\n")
    (place / "no-image.png").write_text("no image")
    (place / "no-arrays.npz").write_text("no arrays")
    for name in ("full", "empty", "images", "shell/checkpoints", "gan_zoo_taken"):
        (place / name).mkdir(parents=True)
    (place / "full" / "something").write_text("")
    (place / "images" / "no-image.png").write_text("no image")
    (place / "shell" / "config.toml").write_text((place / "run" / "config.toml").read_text())
    return place


def tree(place: Path) -> set[Path]:
    return set(place.rglob("*"))


def told(ended: Ended) -> str:
    """The message of a refusal: one line, and neither pydantic's nor the flag parser's."""
    assert ended.code == 2, ended
    assert not ended.out
    assert "Traceback" not in ended.err
    (line,) = (line for line in ended.err.splitlines() if not line.endswith("; using the last"))  # of TINY's flags
    assert line.startswith("gan-zoo: ")
    assert not line.startswith("gan-zoo: gan-zoo ")
    assert not re.search(r"[Ii]nput should|validation error|\[type=|helptext|nrecognized|invalid literal|[│╭─]", line)
    return line


TABLE = [
    (("frobnicate",), ["frobnicate", "train", "traverse"]),
    (("trian", "infogan"), ["unknown command 'trian'; did you mean 'train'?"]),
    ((), ["train", "traverse", "--help"]),
    (("--nope",), ["unknown option '--nope'", "--help"]),
    (("models", "extra"), ["extra"]),
    (("models", "--jso"), ["--jso", "--json"]),
    (("completion",), ["bash"]),
    (("completion", "tcsh"), ["tcsh", "bash", "zsh", "fish"]),
    (("new",), ["WHAT (model)", "NAME"]),
    (("new", "trunk", "mine"), ["'trunk'", "model"]),
    (("new", "model", "My_GAN"), ["'My_GAN'", "lower-case"]),
    (("new", "model", "../../mine"), ["'../../mine'", "lower-case"]),
    (("new", "model", "mine-"), ["'mine-'", "as in my-gan"]),
    (("new", "model", "class"), ["'class'", "Python"]),
    (("new", "model", "x" * 41), ["40 lower-case"]),
    (("new", "model", "data"), ["'data'", "key"]),
    (("new", "model", "infogan"), ["'infogan'", "gan-zoo already has a model of that name"]),
    (("new", "model", "taken"), ["gan_zoo_taken", "already exists", "--out"]),
    (("new", "model", "mine", "--out", "no-image.png"), ["no-image.png"]),
    (("configs", "mnist5k"), ["preset", "'mnist5k'", "'mnist-5k'"]),
    (("train",), ["MODEL", "infogan", "dcgan"]),
    (("train", ""), ["MODEL", "infogan"]),
    (("train", "mnist-5k"), ["mnist-5k is a preset, not a model", "train infogan --config mnist-5k"]),
    (("train", "infogen"), ["model", "'infogen'", "'infogan'"]),
    (("train", "infogen", "--help"), ["model", "'infogen'", "'infogan'"]),
    (("train", "infogan", "--config", "mnist5k"), ["'mnist5k'", "'mnist-5k'"]),
    (("train", "infogan", "--config", "missing.toml"), ["missing.toml", "mnist-5k"]),
    (("train", "infogan", "--config", "damaged.toml"), ["damaged.toml", "TOML", "line 2"]),
    (("train", "infogan", "--config", "odd.toml"), ["odd.toml", "'training.step'", "'training.steps'"]),
    (("train", "infogan", "--config", "full"), ["'full'", "mnist-5k"]),
    (("train", "infogan", "--config"), ["--config"]),
    (("train", "infogan", "--steps"), ["--steps"]),
    (("train", "infogan", "--data", "nowhere"), ["'nowhere'", "mnist-5k"]),
    (("train", "infogan", "--data", "no/where"), ["'no/where'", "no such file or folder"]),
    (("train", "infogan", "--data", "no-image.png"), ["'no-image.png'", ".npz"]),
    (("train", "infogan", "--data", "no-arrays.npz"), ["no-arrays.npz", "cannot be read"]),
    (("train", "infogan", "--data", "empty"), ["'empty'", "no images", ".png"]),
    (("train", "infogan", "--data", "images"), ["'images'", "no-image.png", "cannot be read"]),
    (("train", "infogan", "--data", "folder"), ["data.path"]),
    (("train", "infogan", "--data", "folder", "--data.path", "nowhere"), ["data.path", "'nowhere'", "does not exist"]),
    (("train", "infogan", "--data", "mnist", "--data.path", "full"), ["full", "train-images-idx3-ubyte"]),
    ((*TRAIN, "--data.path", "full"), ["data.path", "'full'"]),
    ((*TRAIN, "extra"), ["unexpected argument 'extra'"]),
    ((*TRAIN, "--training.stepz", "3"), ["'--training.stepz'", "did you mean --training.steps?"]),
    ((*TRAIN, "--width=3"), ["'--width'", "did you mean --trunk.width?"]),
    ((*TRAIN, "--loss", "hinge"), ["'--loss'", "did you mean --loss.adversarial or "]),
    ((*TRAIN, "--lr", "1"), ["'--lr'", "did you mean --optimizer.generator-lr or --optimizer.discriminator-lr"]),
    ((*TRAIN, "--optimizer.lrs", "1"), ["'--optimizer.lrs'", "did you mean --optimizer."]),
    ((*TRAIN, "--data.balance", "x"), ["--data.balance must be numbers, not 'x'"]),
    (("train", "infogan", "--data", "org/name"), ["a set on the Hugging Face Hub is --data hub --data.path org/name"]),
    ((*TRAIN, "--data.resolution=many"), ["--data.resolution", "a whole number", "'many'"]),
    ((*TRAIN, "--model", "dcgan"), ["--model"]),
    ((*TRAIN, "--dcgan.width", "3"), ["--dcgan.width"]),
    ((*TRAIN, "--steps", "many"), ["--steps", "'many'"]),
    ((*TRAIN, "--steps", "1.5"), ["--steps", "'1.5'"]),
    ((*TRAIN, "--steps", "-1"), ["steps", "-1", "greater than or equal to 1"]),
    ((*TRAIN, "--compile", "maybe"), ["maybe"]),
    ((*TRAIN, "--precision", "fp8"), ["--precision", "fp8", "fp32", "bf16", "fp16"]),
    ((*TRAIN, "--seed", "-1"), ["seed", "-1", "greater than or equal to 0"]),
    ((*TRAIN, "--seed", str(2**64)), ["seed", str(2**64), "less than"]),
    ((*TRAIN, "--device", "tpu"), ["training.device", "'tpu'", "cpu"]),
    ((*TRAIN, "--device", "cuda:99"), ["training.device", "'cuda:99'", "cpu"]),
    ((*TRAIN, "--device", "meta"), ["training.device", "'meta'"]),
    ((*TRAIN, "--dry-run", "--device", "tpu"), ["training.device", "'tpu'", "cpu"]),
    ((*TRAIN, "--data.resolution", "3"), ["resolution", "3", "greater than or equal to 4"]),
    ((*TRAIN, "--data.resolution", "nan"), ["--data.resolution", "nan"]),
    ((*TRAIN, "--trunk.name", "infogan-mnist", "--data.resolution", "32"), ["infogan-mnist", "28", "32"]),
    ((*TRAIN, "--trunk.name", "dcgan", "--data.resolution", "30"), ["dcgan", "30", "32", "64"]),
    ((*TRAIN, "--data.channels", "2"), ["channels", "2", "1", "3"]),
    ((*TRAIN, "--data.augment", "flop"), ["data.augment", "'flop'", "'flip'"]),
    ((*TRAIN, "--data.warp", "flop"), ["data.warp", "'flop'", "'flip'"]),
    ((*TRAIN, "--data.warp", "rotate:nan"), ["data.warp", "'nan'"]),
    ((*TRAIN, "--data.warp", "", "--infogan.consistency", "1"), ["infogan.consistency = 1", "data.warp is empty"]),
    ((*TRAIN, "--infogan.consistency", "nan"), ["consistency", "nan"]),
    ((*TRAIN, "--infogan.spread", "-1"), ["spread", "-1"]),
    ((*TRAIN, "--data.augment", "shift:nan"), ["data.augment", "'nan'"]),
    ((*TRAIN, "--training.accumulate", "3"), ["accumulate", "3", "batch_size", "4"]),
    ((*TRAIN, "--batch-size", "1"), ["training.batch_size = 1 passes single images", "single images", "2 or more"]),
    ((*TRAIN, "--training.accumulate", "4"), ["training.batch_size = 4 in 4 micro-batches", "8 or more"]),
    ((*TRAIN, "--loss.gradient-penalty", "10"), ["loss.gradient_penalty = 10", "trunk.discriminator_norm", '"layer"']),
    ((*TRAIN, "--loss.gradient-penalty", "1", "--dry-run"), ["loss.gradient_penalty = 1", "discriminator_norm"]),
    ((*TRAIN, "--trunk.name", "dcgann"), ["name", "'dcgann'", "'dcgan'"]),
    ((*TRAIN, "--loss.adversarial", "hing"), ["adversarial", "'hing'", "'hinge'"]),
    ((*TRAIN, "--loss.r1", "nan"), ["r1", "nan"]),
    ((*TRAIN, "--optimizer.generator-lr", "0"), ["generator_lr", "0", "greater than 0"]),
    ((*TRAIN, "--optimizer.generator-lr", "nan"), ["generator_lr", "nan"]),
    ((*TRAIN, "--optimizer.generator-lr", "inf"), ["generator_lr", "inf", "finite"]),
    ((*TRAIN, "--training.ema", "nan"), ["ema", "nan"]),
    ((*TRAIN, "--infogan.codes", "x:3"), ["codes", "'x:3'", "categorical:K"]),
    ((*TRAIN, "--infogan.codes", ""), ["codes", "categorical:K"]),
    ((*TRAIN, "--infogan.codes", "categorical:1"), ["codes", "'categorical:1'", "2 to"]),
    ((*TRAIN, "--infogan.codes", "bernoulli(nan):1"), ["codes", "'bernoulli(nan):1'"]),
    ((*TRAIN, "--infogan.log-variance-min", "nan"), ["log_variance_min", "nan"]),
    ((*TRAIN, "--infogan.log-variance-min", "6"), ["log_variance_min", "6", "below log_variance_max"]),
    ((*TRAIN, "--out", "full"), ["full", "not empty", "--resume"]),
    ((*TRAIN, "--out", "no-image.png"), ["no-image.png", "is a file"]),
    ((*TRAIN, "--out", "no-image.png/run"), ["no-image.png"]),
    ((*TRAIN, "--resume"), ["--resume", "--out"]),
    ((*TRAIN, "--resume", "--out", "full"), ["full", "not a run folder"]),
    ((*TRAIN, "--resume", "--out", "no-image.png"), ["no-image.png"]),
    (("train", "dcgan", "--resume", "--out", "run"), ["run of model infogan", "dcgan"]),
    (("train", "acgan", "--data", "set.npz", "--data.classes", "0"), ["acgan", "labels"]),
    (("train", "acgan", "--data", "set.npz", "--data.classes", "5"), ["0 to 9", "5 classes"]),
    (("train", "gan", "--data", "set.npz", "--latent.noise", "0"), ["latent.noise", "0"]),
    (("sample",), ["RUN"]),
    (("sample", "nowhere"), ["nowhere", "not a run folder", "does not exist"]),
    (("sample", "runs/none"), ["runs/none", "does not exist", "`gan-zoo runs` lists runs"]),
    (("sample", "org/name"), ["org/name", "not a run folder", "does not exist", "hf://org/name"]),
    (("sample", "full"), ["full", "not a run folder", "config.toml"]),
    (("report", "hf://org/name"), ["hf://org/name is an exported model", "a run folder is needed"]),
    (("runs", "hf://org/name"), ["hf://org/name is not a folder of runs", "a model on the Hub"]),
    (("export", "hf://org/name", "--push", "org/other"), ["hf://org/name was not exported as org/other"]),
    (("centrality", "hf://org/a", "hf://org/a"), ["hf://org/a is named twice"]),
    ((*TRAIN, "--out", "hf://org/name"), ["--out hf://org/name is not a path", "gan-zoo export --push"]),
    (("export", "run", "--out", "hf://org/name"), ["--out hf://org/name is not a path", "gan-zoo export --push"]),
    (("evaluate", "run", "--out", "hf://org/name.json"), ["--out hf://org/name.json is not a path"]),
    (("train", "--resume", "--out", "hf://org/name"), ["--out hf://org/name is not a path"]),
    ((*TRAIN, "--out", "s3://bucket/run"), ["--out s3://bucket/run is not a path; choose one on this machine"]),
    (("sample", "run", "--out", "s3://bucket/x.png"), ["--out s3://bucket/x.png is not a path"]),
    ((*TRAIN[:2], "--data", "hf://datasets/org/name"), ["--data hub --data.path org/name"]),
    (("sample", "no-image.png"), ["no-image.png", "not a run folder"]),
    (("sample", "shell"), ["shell", "no checkpoint"]),
    (("sample", "run/checkpoints/step-00000009"), ["step-00000009", "does not exist"]),
    (("sample", "--nn", "3"), ["unknown option '--nn'", "did you mean --n?"]),
    (("sample", "run", "--n", "0"), ["--n", "0"]),
    (("sample", "run", "--n", "few"), ["--n", "'few'"]),
    (("sample", "run", "--seed", "-1"), ["--seed", "-1"]),
    (("sample", "run", "--seed", str(2**70)), ["--seed", str(2**70)]),
    (("sample", "run", "--codes", "c1"), ["'c1'", "c1=3"]),
    (("sample", "run", "--codes", "c1=x"), ["'c1=x'", "c1=3"]),
    (("sample", "run", "--codes", "c1=nan"), ["c1", "0 to 9", "nan"]),
    (("sample", "run", "--codes", "c1=10"), ["c1", "0 to 9", "10"]),
    (("sample", "run", "--codes", "c1=1.5"), ["c1", "0 to 9", "1.5"]),
    (("sample", "run", "--codes", "c2=nan"), ["c2", "finite", "nan"]),
    (("sample", "run", "--codes", "c2=inf"), ["c2", "finite", "inf"]),
    (("sample", "run", "--codes", "c9=1"), ["code 'c9'", "c1, c2, c3"]),
    (("sample", "plain", "--codes", "c1=1"), ["code 'c1'", "none"]),
    (("sample", "run", "--out", "picture.nope"), ["picture.nope", ".png"]),
    (("sample", "run", "--out", "picture"), ["picture", ".png"]),
    (("sample", "run", "--out", "no-image.png/picture.png"), ["no-image.png"]),
    (("traverse", "nowhere"), ["nowhere", "not a run folder"]),
    (("traverse", "plain"), ["gan", "no codes"]),
    (("traverse", "run", "--code", "c9"), ["code 'c9'", "c1, c2, c3"]),
    (("traverse", "run", "--code", "c1", "--by", "c9"), ["code 'c9'", "c1, c2, c3"]),
    (("traverse", "run", "--code", "c2", "--by", "c2"), ["--code", "--by", "c2", "must differ"]),
    (("traverse", "run", "--by", "c2"), ["--by c2", "--code"]),
    (("traverse", "plain", "--code", "c1", "--by", "c2"), ["gan", "no codes"]),
    (("traverse", "run", "--rows", "0"), ["--rows", "0"]),
    (("traverse", "run", "--rows", "500"), ["by 43", "12288 pixels", "--rows"]),
    (("traverse", "run", "--rows", str(10**12)), [f"--rows {10**12}", "10000"]),
    (("traverse", "run", "--code", "c2", "--values", str(10**12)), [f"--values {10**12}", "10000"]),
    (("traverse", "run", "--code", "c2", "--by", "c3", "--rows", "200"), ["20000 images", "10000", "--rows"]),
    (("traverse", "run", "--code", "c2", "--rows", "60", "--out", "t.gif"), ["86400 images", "10000", "--rows"]),
    (("traverse", "run", "--values", "1"), ["--values", "1"]),
    (("traverse", "run", "--seed", "-5"), ["--seed", "-5"]),
    (("traverse", "run", "--out", "picture.txt"), ["picture.txt", ".webp"]),
    (("traverse", "run", "--out", "no-image.png/picture.gif"), ["no-image.png"]),
    (("encode",), ["RUN"]),
    (("encode", "nowhere"), ["nowhere", "not a run folder"]),
    (("encode", "shell"), ["shell", "no checkpoint"]),
    (("encode", "plain"), ["model gan", "no codes"]),
    (("encode", "run", "--out", "codes.xlsx"), ["codes.xlsx", ".csv", ".parquet"]),
    (("encode", "run", "--out", "codes"), ["codes", ".csv", ".parquet"]),
    (("encode", "run", "--out", "no-image.png/codes.csv"), ["no-image.png"]),
    (("encode", "run", "--split", "validation"), ["--split", "train", "test"]),
    (("encode", "run", "--split", "test"), ["set.npz", "no test split", "--split train"]),
    (("encode", "run", "--batch-size", "0"), ["--batch-size", "0"]),
    (("encode", "run", "--device", "tpu"), ["'tpu'", "cpu"]),
    (("encode", "run", "empty"), ["'empty'", "no images", ".png"]),
    (("encode", "run", "images"), ["images", "no-image.png", "none of the images can be read"]),
    (("encode", "run", "no-image.png"), ["no-image.png", "no image"]),
    (("encode", "run", "missing.png"), ["missing.png", "no such image"]),
    (("encode", "run", "no-image.png", "full"), ["full", "not an image file"]),
    (("encode", "run", "damaged.toml"), ["damaged.toml", "neither an image", ".npz"]),
    (("encode", "run", "no-arrays.npz"), ["no-arrays.npz", "cannot be read"]),
    (("encode", "run", "mnist-4k"), ["'mnist-4k'", "'mnist-5k'"]),
    (("encode", "run", "mnist"), ["mnist", "data.path"]),
    (("sample", "run", "--from", "missing.safetensors"), ["missing.safetensors", "does not exist"]),
    (("sample", "run", "--from", "no-image.png"), ["no-image.png", "not readable as safetensors"]),
    (("traverse", "run", "--from", "run"), ["run", "is a folder"]),
    (("invert",), ["RUN"]),
    (("invert", "run"), ["IMAGE"]),
    (("invert", "nowhere", "set.npz"), ["nowhere", "not a run folder"]),
    (("invert", "run", "missing.png"), ["missing.png", "no such image"]),
    (("invert", "run", "no-image.png"), ["no-image.png", "no image"]),
    (("invert", "run", "set.npz", "--steps", "0"), ["--steps", "0"]),
    (("invert", "run", "set.npz", "--seed", "-1"), ["--seed", "-1"]),
    (("invert", "run", "set.npz", "--split", "test"), ["set.npz", "no test split"]),
    (("invert", "run", "set.npz", "--out", "no-image.png"), ["no-image.png"]),
    (("invert", "run", "set.npz", "--out", "run/checkpoints"), ["run/checkpoints", "file of a run"]),
    (("edit", "run", "--codes", "c2=1"), ["IMAGE"]),
    (("edit", "run", "set.npz"), ["--codes"]),
    (("edit", "run", "set.npz", "--codes", ""), ["--codes", "no code", "c2=-1,0,1"]),
    (("edit", "run", "set.npz", "--codes", "1"), ["--codes", "'1'", "NAME=NUMBER"]),
    (("sample", "run", "--codes", "c2"), ["--codes", "'c2'", "NAME=NUMBER"]),
    (("sample", "run", "--codes", "c2=-1,1"), ["--codes", "c2", "2 values"]),
    (("sample", "run", "--seeds", ""), ["--seeds", "names no seed"]),
    (("walk", "run", "--rows", "100000"), ["--rows 100000", "10000 images"]),
    (("sample", "run", "--checkpoint", "7"), ["step-00000007 does not exist", "newest"]),
    (("edit", "run", "set.npz", "--codes", "c2=a"), ["--codes", "'c2=a'", "NAME=NUMBER"]),
    (("edit", "run", "set.npz", "--codes", "c2=1,c2=2"), ["--codes", "c2", "twice"]),
    (("edit", "run", "set.npz", "--codes", "c9=1"), ["'c9'", "c1, c2, c3"]),
    (("edit", "run", "set.npz", "--codes", "c1=10"), ["code c1", "0 to 9", "10"]),
    (("edit", "run", "set.npz", "--codes", "c2=nan"), ["code c2", "finite", "nan"]),
    (("edit", "run", "set.npz", "--codes", "c2=0,1,c3=0,1"), ["c2 and c3", "only one code"]),
    (("edit", "run", "mnist-5k", "--codes", "c2=1"), ["4,500 images", "100", "-n"]),
    (("edit", "run", "set.npz", "--codes", "c2=1", "--out", "edit.txt"), ["edit.txt", ".png"]),
    (("edit", "plain", "set.npz", "--codes", "c2=1"), ["model gan", "no codes"]),
    (("explore",), ["RUN"]),
    (("explore", "nowhere", "--port", "0"), ["nowhere", "not a run folder", "does not exist"]),
    (("explore", "run", "full", "--port", "0"), ["full", "not a run folder", "config.toml"]),
    (("explore", "shell", "--port", "0"), ["shell", "no checkpoint"]),
    (("explore", "run", "--port", "65536"), ["--port", "0 to 65535", "65536"]),
    (("explore", "run", "--port", "-1"), ["--port", "0 to 65535", "-1"]),
    (("explore", "run", "--port", "web"), ["--port", "'web'"]),
    (("explore", "run", "--port", "0", "--device", "tpu"), ["gan-zoo: --device 'tpu'", "cpu"]),
    (("cluster", "nowhere"), ["nowhere", "not a run folder"]),
    (("cluster", "run", "--k", "1"), ["--k", "1", "24"]),
    (("cluster", "run", "--k", "25"), ["--k", "25", "24"]),
    (("cluster", "run", "--k", "some"), ["--k", "'some'"]),
    (("cluster", "run", "--pool", "sum"), ["--pool", "mean", "max"]),
    (("cluster", "run", "--split", "test"), ["no test split"]),
    (("cluster", "run", "--seed", "-1"), ["--seed", "-1"]),
    (("cluster", "run", "--out", "clusters.csv"), ["clusters.csv", ".json"]),
    (("evaluate",), ["RUN"]),
    (("evaluate", "nowhere"), ["nowhere", "not a run folder"]),
    (("evaluate", "run", "nowhere"), ["nowhere", "not a run folder"]),
    (("evaluate", "run", "--metrics", "clusterin"), ["metric 'clusterin'", "'clustering'", "fidelity"]),
    (("evaluate", "run", "--metrics", ""), ["metric ''", "clustering"]),
    (("evaluate", "plain", "--metrics", "clustering"), ["metric clustering", "model gan", "no codes"]),
    (("evaluate", "run", "--n", "9"), ["--n", "10", "9"]),
    (("evaluate", "run", "--features", "classifer"), ["'classifer'", "classifier", "inception"]),
    (("evaluate", "run", "--features", "inception"), ["inception-2015-12-05.safetensors", "not downloaded"]),
    (("evaluate", "run", "--features", "no-image.png"), ["no-image.png", "safetensors"]),
    (("evaluate", "run", "--seed", "-1"), ["--seed", "-1"]),
    (("evaluate", "run", "--out", "evaluation.txt"), ["evaluation.txt", ".json"]),
    (("evaluate", "run", "--device", "cuda:99"), ["gan-zoo: --device 'cuda:99'", "cpu"]),
    (("export",), ["RUN"]),
    (("export", "run"), ["--out"]),
    (("export", "nowhere", "--out", "export"), ["nowhere", "not a run folder", "does not exist"]),
    (("export", "full", "--out", "export"), ["full", "config.toml", "config.json"]),
    (("export", "shell", "--out", "export"), ["shell", "no checkpoint"]),
    (("export", "run", "--out", "full"), ["full", "not empty", "another folder"]),
    (("export", "run", "--out", "run"), ["run", "not empty"]),
    (("export", "run", "--out", "no-image.png"), ["no-image.png", "not a folder"]),
    (("export", "run", "--out", "no-image.png/export"), ["no-image.png"]),
    (("export", "run", "--out", "export", "--push", "digits"), ["--push 'digits'", "org/name"]),
    (("export", "run", "--out", "export", "--push", "a/../b"), ["--push", "org/name"]),
    (("export", "run", "--out", "export", "--private"), ["--private", "--push"]),
    (("export", "run", "--out", "export", "--seed", "-1"), ["--seed", "-1"]),
    (("runs",), ["runs", "does not exist"]),
    (("runs", "nowhere"), ["nowhere", "does not exist"]),
    (("runs", "no-image.png"), ["no-image.png", "is a file"]),
    (("report",), ["RUN"]),
    (("report", "nowhere"), ["nowhere", "not a run folder"]),
    (("report", "run", "--out", "page.pdf"), ["page.pdf", ".html"]),
    (("report", "run", "--out", "no-image.png/page.html"), ["no-image.png"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("args", "words"), TABLE, ids=[" ".join(args).replace(" ".join(TRAIN), "…") for args, _ in TABLE]
)
def test_bad_input_ends_in_one_line_and_exit_code_2(
    args: tuple[str, ...], words: list[str], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("GAN_ZOO_CACHE", str(place / "cache"))
    before = tree(place)
    line = told(zoo(*args))
    for word in words:
        assert word in line
    assert tree(place) == before


@pytest.mark.parametrize("command", [("doctor",), TRAIN])
@pytest.mark.parametrize("kernels", ["nonsense", "triton"])
def test_kernels_that_cannot_be_had_are_told(
    command: tuple[str, ...], kernels: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("GAN_ZOO_KERNELS", kernels)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    before = tree(place)
    line = told(zoo(*command))
    assert f"GAN_ZOO_KERNELS={kernels}" in line
    assert tree(place) == before


def test_a_place_that_cannot_be_written_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    closed = place / "empty"
    closed.chmod(0o555)
    try:
        if os.access(closed, os.W_OK):
            closed = Path("/proc")
            if not closed.is_dir():
                pytest.skip("this user may write everywhere")
        for args in ((*TRAIN, "--out", closed / "run"), ("sample", "run", "--out", closed / "picture.png")):
            assert str(closed) in told(zoo(*args))
        assert not (closed / "run").exists()
    finally:
        (place / "empty").chmod(0o755)


@pytest.mark.parametrize("args", [("train", "infogen"), (*TRAIN, "--seed", "-1"), ("frobnicate",)])
def test_a_process_ends_so_too(args: tuple[str, ...], place: Path) -> None:
    before = tree(place)
    told(zoo_process(*args, cwd=place))
    assert tree(place) == before


def test_a_damaged_checkpoint_is_told(place: Path, tmp_path: Path) -> None:
    gan_zoo.train(
        "infogan",
        out=tmp_path / "run",
        quiet=True,
        data=place / "set.npz",
        steps=1,
        batch_size=4,
        width=2,
        device="cpu",
    )
    (weights,) = (tmp_path / "run").glob("checkpoints/*/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    line = told(zoo("sample", tmp_path / "run"))
    assert "model.safetensors" in line
    assert str(tmp_path / "run") in line
