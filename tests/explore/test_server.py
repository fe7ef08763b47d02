"""Accepted requests, and the page's headers and labels."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commandline import write_set, zoo

pytest.importorskip("gradio")
import gan_zoo
from gan_zoo.errors import InputError
from gan_zoo.explore.server import ADDRESS, bind, serve
from gan_zoo.explore.view import View


@pytest.fixture(scope="module")
def client(run: Path, plain: Path) -> Iterator[Any]:
    from starlette.testclient import TestClient

    from gan_zoo.explore.server import application

    with TestClient(application([View(run), View(plain)]), base_url="http://127.0.0.1:7860") as client:
        yield client


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:7860", "localhost:7860", "LOCALHOST"])
def test_the_page_is_served_to_this_machine(client: Any, host: str) -> None:
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == 200
    assert "gan-zoo explore" in answer.text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "0.0.0.0", "", "[::1"])
@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/info", "/gradio_api/upload"])
def test_another_host_name_is_refused(client: Any, host: str, path: str) -> None:
    answer = client.get(path, headers={"host": host})
    assert answer.status_code == 400
    assert answer.text == "Invalid host header"


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://evil.example:7860",
        "https://127.0.0.1.evil.example",
        "null",
        "",
        "http://localhost:3000",
        "http://127.0.0.1",
        "http://127.0.0.1:78600",
        "http://localhost:7860@evil.example",
        "https://localhost:7860",
        "http://[",
    ],
)
def test_a_foreign_page_is_refused(client: Any, origin: str) -> None:
    answer = client.post("/gradio_api/upload", headers={"origin": origin}, files={"files": b"x"})
    assert answer.status_code == 403
    assert "its own page only" in answer.text


@pytest.mark.parametrize("port", ["", ":7860"])
@pytest.mark.parametrize("names", [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("localhost", "localhost")])
def test_its_own_page_is_answered(client: Any, names: tuple[str, str], port: str) -> None:
    headers = {"origin": f"http://{names[0]}{port}", "host": f"{names[1]}{port}"}
    assert client.post("/gradio_api/upload", headers=headers, files={"files": b"x"}).status_code == 200


def test_the_browser_is_told_to_stay_here(client: Any) -> None:
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert "*" not in policy


def test_gradio_sends_nothing_and_takes_no_large_file(client: Any) -> None:
    config = client.get("/config").json()
    assert not config["analytics_enabled"]
    assert not config.get("is_space")
    assert config["max_file_size"] == 20 * 2**20
    large = client.post("/gradio_api/upload", files={"files": ("large.png", b"x" * (20 * 2**20 + 1))})
    assert large.status_code == 413


def test_no_file_of_this_machine_is_served(client: Any, run: Path) -> None:
    for path in ("/etc/passwd", str(run / "config.toml"), str(Path(__file__))):
        assert client.get(f"/gradio_api/file={path}").status_code in (403, 404)


def test_a_column_for_each_run_and_controls_that_they_share(client: Any) -> None:
    components = client.get("/config").json()["components"]
    labels = [c["props"].get("label") for c in components]
    assert labels.count("noise seed") == labels.count("c2, uniform") == labels.count("your image") == 1
    assert sum(c["props"].get("elem_classes") == ["zoo-run"] for c in components) == 2
    said = " ".join(str(c["props"].get("value")) for c in components if c["type"] == "html")
    assert "Model gan has no codes" in said
    assert "infogan on mnist-5k" in said
    assert "gan on set" in said


def test_runs_share_the_codes_that_agree_and_others_name_their_run(run: Path, tmp_path: Path) -> None:
    from gan_zoo.explore.app import Page

    settings = {"steps": 1, "batch_size": 4, "width": 2, "device": "cpu", "quiet": True}
    data = write_set(tmp_path / "set.npz")
    for name, codes in (("same", "categorical:10, uniform:2"), ("other", "categorical:3, uniform:1")):
        gan_zoo.train("infogan", out=tmp_path / name, data=data, codes=codes, **settings)
    page = Page([View(run), View(tmp_path / "same"), View(tmp_path / "other")])
    labels = [component.label for component in page.inputs[2:]]
    assert labels == [
        "c1, categorical (digits, same)", "c2, uniform", "c3, uniform (digits, same)", "c1, categorical (other)"
    ]  # fmt: skip


def test_a_plain_gan_has_no_field_for_an_image(plain: Path) -> None:
    from gan_zoo.explore.app import Page

    (dropped,) = (c for c in Page([View(plain)]).blocks.blocks.values() if getattr(c, "label", "") == "your image")
    assert not dropped.visible


def test_an_exported_model_has_no_curves(run: Path, tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    from gan_zoo.explore.server import application

    assert zoo("export", run, "--out", tmp_path / "exported").code == 0
    with TestClient(application([View(tmp_path / "exported")]), base_url="http://127.0.0.1") as client:
        components = client.get("/config").json()["components"]
    assert "timer" not in {c["type"] for c in components}
    assert any("an exported model has no log" in str(c["props"].get("value")) for c in components)
    (newest,) = (c for c in components if c["props"].get("elem_classes") == ["zoo-newest"])
    assert not newest["props"]["visible"]


def test_a_port_in_use_is_told(run: Path) -> None:
    with bind(0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError):
            bind(port)
        ended = zoo("explore", run, "--port", port)
    assert ended.code == 2
    assert ended.err == f"gan-zoo: --port {port} is in use; name another, or 0 for any that is free\n"


def test_of_those_that_begin_at_once_one_has_the_port() -> None:
    with bind(0) as free:
        port = free.getsockname()[1]
    gate, had, refused = threading.Barrier(8), [], []

    def begin() -> None:
        gate.wait()
        try:
            had.append(bind(port))
        except InputError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for bound in had:
        bound.close()
    assert len(had) == 1
    assert refused == [f"--port {port} is in use; name another, or 0 for any that is free"] * 7


def test_only_the_loopback_address_is_bound() -> None:
    with bind(0) as bound:
        assert bound.getsockname()[0] == ADDRESS == "127.0.0.1"


def test_a_missing_library_is_told_before_a_model_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_zoo.extras.find_spec", lambda name: None)
    ended = zoo("explore", tmp_path / "no run", "--port", "0")
    assert ended.code == 2
    assert "pip install 'gan-zoo[explore]'" in ended.err


def test_telemetry_is_off_before_a_model_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY")
    for name in names:
        monkeypatch.setenv(name, "")  # so that it is restored

    def find(source: Path, device: Any) -> View:
        raise InputError(" ".join(os.environ[name] for name in names))

    monkeypatch.setattr("gan_zoo.explore.view.View", find)
    assert zoo("explore", "hf://a/b", "--port", "0").err == "gan-zoo: False 1\n"


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("before", [None, "elsewhere"])
def test_where_gradio_keeps_files_is_as_before_when_the_server_has_ended(
    before: str | None, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    os.environ.pop("GRADIO_TEMP_DIR")
    if before is not None:
        os.environ["GRADIO_TEMP_DIR"] = before
    within = []

    def say(line: str) -> None:
        within.append(Path(os.environ["GRADIO_TEMP_DIR"]))
        signal.raise_signal(signal.SIGINT)

    serve([View(plain)], bind(0), say)
    assert os.environ.get("GRADIO_TEMP_DIR") == before
    assert within[0].name.startswith("gan-zoo-explore-") and not within[0].exists()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_nothing(number: signal.Signals, run: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gan_zoo", "explore", str(run), "--port", "0"]
    variables = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("explore: http://127.0.0.1:")
        port = int(line.split()[1].rsplit(":", 1)[1])
        socket.create_connection((ADDRESS, port), timeout=10).close()
        process.send_signal(number)
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (0, "", "")
    assert not list(tmp_path.glob("gan-zoo-explore-*"))
