"""The server of the page, on the loopback address, without any access to the network."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from gan_zoo.errors import InputError

if TYPE_CHECKING:
    from gan_zoo.explore.view import View

ADDRESS = "127.0.0.1"
HOSTS = (ADDRESS, "localhost")
"""Accepted host names; any other indicates a foreign page whose name was pointed at this address (DNS rebinding)."""
LARGEST = "20mb"
"""Maximum size of a dropped image."""
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",  # the plots compile expressions
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""The content security policy: the page may load from and talk to this server only."""


def send_nothing() -> None:
    """Disable the libraries' telemetry; call before they are imported."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


def bind(port: int) -> socket.socket:
    """A socket that listens on the loopback address; `serve` answers its requests.

    Args:
        port: 1 to 65535, or 0 for any free port.

    Raises:
        InputError: If the port is unavailable.
    """
    bound = socket.socket()
    if os.name != "nt":  # Windows would share a port that is in use
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((ADDRESS, port))
        bound.listen()
    except OSError as error:
        bound.close()
        reason = "requires more privileges" if isinstance(error, PermissionError) else "is in use"
        raise InputError(f"--port {port} {reason}; name another, or 0 for any that is free") from None
    return bound


def application(views: Sequence[View]) -> Any:
    """The page of these runs as an ASGI application that refuses foreign requests."""
    send_nothing()
    import gradio as gr
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from gan_zoo.explore.app import build
    from gan_zoo.explore.markup import CSS

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS))
    theme = gr.themes.Default(font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace"))
    return gr.mount_gradio_app(
        app,
        build(views),
        path="/",
        server_name=ADDRESS,
        footer_links=[],
        max_file_size=LARGEST,
        ssr_mode=False,
        enable_monitoring=False,
        theme=theme,
        css=CSS,
    )


class Guard:
    """Refuses requests of foreign pages, and sends the content security policy."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle a request (ASGI)."""
        from starlette.datastructures import Headers, MutableHeaders
        from starlette.responses import PlainTextResponse

        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        _, colon, port = headers.get("host", "").partition(":")
        if headers.get("origin") not in (None, *(f"http://{name}{colon}{port}" for name in HOSTS)):
            refusal = PlainTextResponse("gan-zoo explore answers requests of its own page only", status_code=403)
            await refusal(scope, receive, send)
            return

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["content-security-policy"] = POLICY
            await send(message)

        await self.app(scope, receive, guarded)


def serve(views: Sequence[View], bound: socket.socket, say: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Args:
        views: The runs, side by side.
        bound: What `bind` returned.
        say: Called with a line that names the address, once the server is ready.
    """
    import uvicorn

    class Server(uvicorn.Server):  # type: ignore[misc]
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                say(f"explore: http://{ADDRESS}:{bound.getsockname()[1]} (Ctrl-C stops it)")

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # open pages are cut off, which is no error
            await super().shutdown(sockets)

    # The server raises a received signal again after it has closed, and its event loop expects only SIGINT then.
    previous = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        with _uploads():
            config = uvicorn.Config(
                application(views), log_level="warning", access_log=False, timeout_graceful_shutdown=1
            )
            Server(config).run(sockets=[bound])
    except KeyboardInterrupt:
        return
    finally:
        bound.close()
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _uploads() -> Iterator[None]:
    """Store uploads in a temporary folder inside the block."""
    name = "GRADIO_TEMP_DIR"
    previous = os.environ.get(name)
    with TemporaryDirectory(prefix="gan-zoo-explore-") as folder:
        os.environ[name] = folder
        try:
            yield
        finally:
            os.environ.pop(name, None)
            if previous is not None:
                os.environ[name] = previous
