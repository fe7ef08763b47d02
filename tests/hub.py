"""A small imitation of the Hugging Face Hub on loopback: datasets, and models to load and upload."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, urlsplit

LARGE = (".safetensors", ".onnx", ".png")
"""Endings of files that the Hub takes as large ones, by git-lfs."""
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """The Hub's files, and the requests that it received."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, bytes]] = {}
        self.datasets: dict[str, dict[str, bytes]] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.address = ""

    def put(self, name: str, folder: Path) -> None:
        """Have the Hub hold a folder's files as a model."""
        self.models[name] = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@contextmanager
def hub() -> Iterator[Hub]:
    """A Hub that is there while the block runs."""
    held = Hub()

    class Handler(_Handler):
        hub = held

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        held.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield held
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._get()

    def do_GET(self) -> None:
        self._get()

    def do_POST(self) -> None:
        body = self._body()
        path = urlsplit(self.path).path
        self.hub.asked.append(f"POST {path}")
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            self.hub.models.setdefault(name, {})
            self._json({"url": f"{self.hub.address}/{name}", "name": name})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            files = json.loads(body)["files"]
            modes = {f["path"]: "lfs" if f["path"].endswith(LARGE) else "regular" for f in files}
            self._json({"files": [{"path": p, "uploadMode": m, "shouldIgnore": False} for p, m in modes.items()]})
        elif re.fullmatch(r"/[^/]+/[^/]+\.git/info/lfs/objects/batch", path):
            actions = {"upload": {"href": f"{self.hub.address}/large"}}
            objects = [{**o, "actions": actions} for o in json.loads(body)["objects"]]
            self._json({"transfer": "basic", "objects": objects})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            for line in map(json.loads, body.splitlines()):
                told = line["value"]
                if line["key"] == "file":
                    self.hub.models[match[1]][told["path"]] = b64decode(told["content"])
                elif line["key"] == "lfsFile":
                    self.hub.models[match[1]][told["path"]] = self.hub.large[told["oid"]]
            url = f"{self.hub.address}/{match[1]}/commit/{COMMIT}"
            self._json({"success": True, "commitOid": COMMIT, "commitUrl": url})
        elif match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/paths-info/[^/]+", path):
            asked = parse_qs(body.decode()).get("paths", []) if body[:1] != b"{" else json.loads(body)["paths"]
            self._json([one for one in _tree(self.hub.datasets[match[1]]) if one["path"] in asked])
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        else:
            self._missing("EntryNotFound")

    def do_PUT(self) -> None:
        body = self._body()
        self.hub.asked.append(f"PUT {urlsplit(self.path).path}")
        self.hub.large[hashlib.sha256(body).hexdigest()] = body
        self._send(b"", {})

    def _get(self) -> None:
        path = urlsplit(self.path).path
        self.hub.asked.append(f"{self.command} {path}")
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+?)(?:/(revision|tree)/[^/]+)?/?", path):
            files = self.hub.models.get(match[1])
            if files is None:
                self._missing("RepoNotFound")
            elif match[2] == "tree":
                self._json([{"type": "file", "path": n, "size": len(c), "oid": _oid(c)} for n, c in files.items()])
            else:
                listed = [{"rfilename": name} for name in files]
                self._json({"id": match[1], "modelId": match[1], "sha": COMMIT, "private": False, "siblings": listed})
        elif match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+?)(?:/(revision|tree)/[^/]+)?(?:/(.+))?", path):
            files = self.hub.datasets.get(match[1])
            if files is None:
                self._missing("RepoNotFound")
            elif match[2] == "tree":
                below = f"{match[3]}/" if match[3] else ""
                self._json([one for one in _tree(files) if one["path"].startswith(below)])
            else:
                self._json(
                    {"id": match[1], "sha": COMMIT, "private": False, "siblings": [{"rfilename": n} for n in files]}
                )
        elif (match := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/[^/]+/(.+)", path)) and match[2] in (
            held := self.hub.datasets if match[1] else self.hub.models
        ):
            content = held[match[2]].get(match[3])
            if content is None:
                self._missing("EntryNotFound")
            else:
                self._send(content, {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"})
        else:
            self._missing("RepoNotFound")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _json(self, value: Any) -> None:
        self._send(json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _missing(self, code: str) -> None:
        self._send(b"", {"X-Error-Code": code, "X-Repo-Commit": COMMIT}, status=404)

    def _send(self, content: bytes, headers: dict[str, str], *, status: int = 200) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _tree(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """Files and the folders that they lie in, as the Hub lists them."""
    folders = {parent.as_posix() for name in files for parent in PurePosixPath(name).parents} - {"."}
    listed = [{"type": "directory", "path": name, "size": 0, "oid": _oid(name.encode())} for name in sorted(folders)]
    return listed + [{"type": "file", "path": n, "size": len(c), "oid": _oid(c)} for n, c in files.items()]


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
