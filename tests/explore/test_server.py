"""Who is served, and what the page says of itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commandline import zoo

pytest.importorskip("gradio")
from gan_zoo.explore.server import ADDRESS, bind
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


@pytest.mark.parametrize("origin", ["http://evil.example", "https://127.0.0.1.evil.example", "null"])
def test_a_foreign_page_is_refused(client: Any, origin: str) -> None:
    answer = client.post("/gradio_api/upload", headers={"origin": origin}, files={"files": b"x"})
    assert answer.status_code == 403
    assert "its own page alone" in answer.text


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


def test_a_column_for_each_run(client: Any) -> None:
    components = client.get("/config").json()["components"]
    labels = [c["props"].get("label") for c in components]
    assert labels.count("noise (its seed)") == 2
    assert labels.count("c2, uniform") == 1
    said = " ".join(str(c["props"].get("value")) for c in components if c["type"] == "html")
    assert "Model gan has no codes" in said
    assert "infogan on mnist-5k" in said
    assert "gan on set" in said


def test_an_exported_model_has_no_curves(run: Path, tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    from gan_zoo.explore.server import application

    assert zoo("export", run, "--out", tmp_path / "exported").code == 0
    with TestClient(application([View(tmp_path / "exported")]), base_url="http://127.0.0.1") as client:
        components = client.get("/config").json()["components"]
    assert not {"nativeplot", "timer"} & {c["type"] for c in components}
    assert any("an exported model has no log" in str(c["props"].get("value")) for c in components)
    (newest,) = (c for c in components if c["props"].get("elem_classes") == ["zoo-newest"])
    assert not newest["props"]["visible"]


def test_a_port_in_use_is_told(run: Path) -> None:
    with bind(0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        ended = zoo("explore", run, "--port", port)
    assert ended.code == 2
    assert ended.err == f"gan-zoo: --port {port} is in use; name another, or 0 for any that is free\n"


def test_only_the_loopback_address_is_bound() -> None:
    with bind(0) as bound:
        assert bound.getsockname()[0] == ADDRESS == "127.0.0.1"


def test_a_missing_library_is_told(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_zoo.extras.find_spec", lambda name: None)
    ended = zoo("explore", run, "--port", "0")
    assert ended.code == 2
    assert "pip install 'gan-zoo[explore]'" in ended.err


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
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
