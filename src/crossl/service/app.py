"""App: the addresses of the service, and what each answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from crossl import __version__
from crossl.api.run import Run
from crossl.errors import CrosslError, PackageError
from crossl.service import openapi
from crossl.service.answers import answer_of, kind_asked
from crossl.service.engine import BusyError, Engine
from crossl.service.guard import SUBPROTOCOL, Guard
from crossl.service.hub import Hub
from crossl.service.limits import Limits
from crossl.service.live_page import live_page
from crossl.service.options import option, query_facts, stream_options
from crossl.service.requests import sent_by
from crossl.service.sources import Source, channel_source
from crossl.service.streams import serve_stream
from crossl.service.training_map import TrainingMap
from crossl.service.watch import Watcher, serve_watcher

NO_STREAM = "waiting for a stream: send chunks of samples to /ws"


@dataclass
class State:
    """What the addresses share.

    Attributes:
        engine: that computes.
        name: of the run.
        plane: that embeddings are shown in.
        demo: recordings that are replayed to each page.
        map_reason: why there is no map.
        hub: open streams.
        watchers: pages that watch.
    """

    engine: Engine
    name: str
    plane: TrainingMap | None = None
    demo: Source | None = None
    map_reason: str = ""
    hub: Hub = field(default_factory=Hub)
    watchers: int = 0


def build_app(
    run: Run,
    *,
    name: str = "run",
    limits: Limits | None = None,
    token: str = "",
    hosts: tuple[str, ...] = (),
    plane: TrainingMap | None = None,
    demo: Source | None = None,
) -> ASGIApp:
    """Make the service of a run, as an ASGI application.

    Args:
        run: with a classifier.
        name: of the run, as pages show it.
        limits: how much is allowed.
        token: that every request must show; empty for none, then only names of this machine work.
        hosts: further names that it may be reached by without a token.
        plane: the map of training windows; None for none.
        demo: what pages show.

    Raises:
        ContractError: the run does not say how its windows were cut.
        FormatError: it has no classifier.
    """
    limits = limits or Limits()
    engine = Engine(run, limits)
    run.windower()  # refuses a run that cannot take a stream, now and not at the first one
    reason = (
        "" if plane is not None else "no map: the store that the run learned from was not given"
    )
    state = State(engine, name, plane, demo, reason)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        yield
        engine.close()

    app = FastAPI(title="crossl", version=__version__, docs_url=None, redoc_url=None,
                  summary=f"What {name} says of recordings and streams of sensors.",
                  lifespan=life)  # fmt: skip
    _add_errors(app)
    _add_addresses(app, state)
    _add_sockets(app, state)
    return Guard(app, limits=limits, token=token, hosts=hosts)


def _add_errors(app: FastAPI) -> None:
    """Answer whatever goes wrong in one sentence."""

    @app.exception_handler(CrosslError)
    async def refused(_request: Request, error: CrosslError) -> JSONResponse:
        code = (
            503 if isinstance(error, BusyError) else 501 if isinstance(error, PackageError) else 422
        )
        headers = {"retry-after": "1"} if code == 503 else None
        return JSONResponse({"error": str(error)}, code, headers)

    @app.exception_handler(HTTPException)
    async def told(request: Request, error: HTTPException) -> JSONResponse:
        sentence = error.detail
        if error.status_code == 404:
            sentence = f"{request.url.path:.80}: is nothing here; see /openapi.json"
        if error.status_code == 405:
            sentence = f"{request.method} {request.url.path:.80}: is not allowed; see /openapi.json"
        headers = dict(error.headers or {})
        if error.status_code in (408, 413):
            headers["connection"] = "close"
        return JSONResponse({"error": sentence}, error.status_code, headers)

    @app.exception_handler(Exception)
    async def failed(_request: Request, _error: Exception) -> JSONResponse:
        return JSONResponse({"error": "the service failed; its log says why"}, 500)


def _add_addresses(app: FastAPI, state: State) -> None:
    engine, limits = state.engine, state.engine.limits
    page, policy = live_page()

    @app.get("/", include_in_schema=False)
    async def live() -> Response:
        headers = {"content-security-policy": policy}
        return Response(page, media_type="text/html; charset=utf-8", headers=headers)

    @app.get("/health", openapi_extra=openapi.HEALTH)
    async def health() -> dict[str, Any]:
        """Tell that the service lives, and how busy it is."""
        return {"status": "ok", "waiting": engine.waiting, "answered": engine.answered,
                "streams": len(state.hub.channels), "watchers": state.watchers,
                "version": __version__}  # fmt: skip

    @app.get("/contract", openapi_extra=openapi.CONTRACT)
    async def contract() -> dict[str, Any]:
        """Tell what the run needs and says: sensors, units, rates, windows, classes."""
        return contract_of(state)

    @app.post("/predict", openapi_extra=openapi.PREDICT)
    async def predict(request: Request) -> Response:
        """Label a recording: JSON, an Arrow stream, or files as multipart/form-data."""
        kind = kind_asked(request.headers.get("accept", ""))
        sent = await sent_by(request, engine, limits)
        answer = await engine.compute(lambda: answer_of([engine.say(one) for one in sent], kind))
        return Response(answer, media_type=kind)


def contract_of(state: State) -> dict[str, Any]:
    """Return what the run needs and says, as JSON values."""
    run, limits = state.engine.run, state.engine.limits
    reading = run.contract.get("reading") or {}
    return {
        "run": state.name,
        "version": __version__,
        "modalities": [m.as_dict() for m in run.modalities],
        "window": run.contract["window"],
        "resampled": run.contract.get("resampled", {}),
        "kind": state.engine.probe.task.target.kind,
        "classes": list(run.classes),
        "calibrated": state.engine.calibrated,
        "files": "by the run's mapping" if reading.get("mapping") else "that describe themselves",
        "limits": {"body_bytes": limits.body_bytes, "samples": limits.samples,
                   "windows": limits.windows, "files": limits.files,
                   "message_bytes": limits.message_bytes},
    }  # fmt: skip


def _add_sockets(app: FastAPI, state: State) -> None:
    engine, hub, limits = state.engine, state.hub, state.engine.limits

    @app.websocket("/ws")
    async def stream(socket: WebSocket) -> None:
        """Take chunks of samples, answer labelled windows."""
        if len(hub.channels) >= limits.streams:
            await _deny(socket, 503, f"busy: {limits.streams} streams are open already")
            return
        try:
            told = stream_options(socket.query_params)
            live = engine.run.live(**told)
        except CrosslError as error:
            await _deny(socket, 422, str(error))
            return
        channel = hub.open(option(socket.query_params, "name") or f"stream {len(hub.channels) + 1}",
                           told)  # fmt: skip
        try:
            with suppress(WebSocketDisconnect):
                await _accept(socket)
                await serve_stream(socket, engine, live, channel)
        finally:
            hub.close(channel)

    @app.websocket("/watch")
    async def watch(socket: WebSocket) -> None:
        """Show what comes to the live page."""
        if state.watchers >= limits.watchers:
            await _deny(socket, 503, f"busy: {limits.watchers} pages watch already")
            return
        state.watchers += 1
        try:
            with suppress(WebSocketDisconnect):
                await _accept(socket)
                await _watch(socket, state, query_facts(socket.query_params))
        finally:
            state.watchers -= 1


async def _watch(socket: WebSocket, state: State, facts: Mapping[str, Any]) -> None:
    about: dict[str, Any] = {"run": state.name, "map_reason": state.map_reason}
    number = facts.get("stream")
    channel = state.hub.channels.get(number) if number is not None else None
    if channel is None and state.demo is None:
        if not state.hub.channels:
            await socket.send_text(json.dumps({"waiting": NO_STREAM}))
        channel = await _newest(socket, state)
        if channel is None:
            return
    # of a stream the page shows what its sender is answered
    live = state.engine.run.live(**({"in_order": True} if channel is None else channel.options))
    if channel is not None:
        source, shown = channel_source(channel), channel.name
    else:
        assert state.demo is not None  # noqa: S101 - asked above
        source, shown = state.demo(), "replay of built-in recordings"
    about |= {"source": shown, "demo": state.demo is not None, "streams": state.hub.told(),
              "shown": channel.number if channel is not None else None}  # fmt: skip
    if await serve_watcher(
        socket, state.engine, Watcher(live, state.plane), source, about, state.hub.told
    ):
        with suppress(RuntimeError):  # where the service itself ends, its page is closed already
            await socket.send_text(json.dumps({"end": f"{shown}: has ended"}))
            await socket.close()


async def _newest(socket: WebSocket, state: State) -> Any:
    """Wait for a stream to open, or for the page to go."""
    wait, gone = (asyncio.create_task(one) for one in (state.hub.newest(), socket.receive()))
    try:
        await asyncio.wait((wait, gone), return_when=asyncio.FIRST_COMPLETED)
        return wait.result() if wait.done() else None
    finally:
        for task in (wait, gone):
            task.cancel()


async def _accept(socket: WebSocket) -> None:
    offered = SUBPROTOCOL in socket.scope.get("subprotocols", ())
    await socket.accept(subprotocol=SUBPROTOCOL if offered else None)


async def _deny(socket: WebSocket, code: int, sentence: str) -> None:
    await socket.send_denial_response(JSONResponse({"error": sentence}, code))
