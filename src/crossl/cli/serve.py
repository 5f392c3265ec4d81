"""`crossl serve`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from crossl.cli import show
from crossl.cli.options import run_here

PACKAGES = ("fastapi", "uvicorn", "websockets", "python_multipart")


def serve(
    run: Annotated[
        Path | None,
        typer.Argument(help="Run folder with a classifier, or hf://USER/REPO; --demo needs none."),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Replay built-in recordings to the live page.")
    ] = False,
    store: Annotated[
        Path | None,
        typer.Option(help="Store that the run learned from, for the map on the live page."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; other than this machine's needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any free one.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            help="What every request must show, but for GET / and /health; better in CROSSL_TOKEN, "
            "unseen by others."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="With --demo: folder in which its run is kept.")] = Path(
        "crossl-demo"
    ),
) -> None:
    """Serve a run: predictions over HTTP, streams over WebSockets, and a live page.

    POST /predict takes a recording as JSON or Arrow, or files; /ws takes chunks of samples and
    answers labelled windows; / is a page that shows signals, labels and confidence, with a switch
    at each sensor. /contract and /openapi.json say the rest. With --demo and no run, a small one
    is trained on built-in recordings first, in about half a minute, and kept. Ctrl-C ends it. Needs
    pip install "crossl[app]".

    Example: crossl serve --demo

    Example: crossl serve runs/first --store stores/sp_sw_har
    """
    _check_installed()
    from crossl.errors import ConfigError
    from crossl.service.server import check_address, listen

    token = os.environ.get("CROSSL_TOKEN", "") if token is None else token
    check_address(host, token)
    if run is None and not demo:
        raise ConfigError("serve: names no run; give a run folder, or --demo")
    with listen(host, port) as taken:
        if run is None:
            run, store = _demo_run(out, store)
        _serve(run_here(run), store, taken, demo=demo, host=host, token=token)


def _leave_a_core() -> None:
    """Let the network leave one core to what reads and answers, unless the user says otherwise."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) - 1))


def _check_installed() -> None:
    from importlib.util import find_spec

    from crossl.errors import PackageError

    for name in PACKAGES:
        if find_spec(name) is None:
            raise PackageError(
                f"serve: needs the package '{name}', which is not installed; install it with: "
                'pip install "crossl[app]"'
            )


def _demo_run(out: Path, store: Path | None) -> tuple[Path, Path | None]:
    """Return a run on the built-in recordings, which is trained if there is none, and its store."""
    from crossl.cli.experiment import make_demo_store
    from crossl.service.demo import kept_run, store_of, train_small

    kept = kept_run(out)
    if kept is None:
        typer.echo(
            f"training a small run in {out}, once; about half a minute on two cores", err=True
        )
        make_demo_store(None, out / "store")
        with show.progress("train") as tell:
            kept = train_small(out, progress=tell)
    return kept, store or store_of(out, kept)


def _serve(
    path: Path, store: Path | None, taken: object, *, demo: bool, host: str, token: str
) -> None:
    import socket

    from crossl.api.run import load_run
    from crossl.service.app import build_app
    from crossl.service.demo import recordings_to_show
    from crossl.service.limits import Limits
    from crossl.service.server import make_server
    from crossl.service.server import serve as serve_until_stopped
    from crossl.service.sources import replay
    from crossl.service.training_map import training_map

    assert isinstance(taken, socket.socket)  # noqa: S101
    _leave_a_core()
    run, limits = load_run(path), Limits()
    shown = recordings_to_show(run) if demo else []
    if store is not None:
        typer.echo("computing the map of training windows; this takes some seconds", err=True)
    plane = training_map(run, store) if store is not None else None
    app = build_app(run, name=path.name, limits=limits, token=token, plane=plane,
                    demo=(lambda: replay(shown)) if demo else None)  # fmt: skip
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{taken.getsockname()[1]}/"

    def ready() -> None:
        told = "; it asks for the token" if token else ""
        typer.echo(f"serving {path} at {address}{told}\nCtrl-C ends it")

    serve_until_stopped(make_server(app, limits, ready=ready), taken)
    typer.echo("stopped")
