"""The first that runs of `crossl`: signals are answered before anything slow is imported."""

from __future__ import annotations

from crossl.cli.interrupt import stopped_by_signals


def run() -> None:
    """Import the application and run it."""
    with stopped_by_signals():
        from crossl.cli.main import run as application

        application()


if __name__ == "__main__":
    run()
