"""Registries: open to packages, and loud about names that are taken or unknown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest

import crossl
from crossl import registry
from crossl.errors import ConfigError
from crossl.registry import Registry, kind_of
from crossl.settings import Settings


class FlatConfig(Settings):
    kind: Literal["flat"] = "flat"


@pytest.fixture
def encoders(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The registry of encoders, which forgets afterwards."""
    before = dict(registry.ENCODERS._parts)
    yield registry.ENCODERS
    registry.ENCODERS._parts.clear()
    registry.ENCODERS._parts.update(before)
    for watcher in registry.ENCODERS._watchers:
        watcher()


def test_a_part_is_known_by_its_kind_once_it_is_registered(encoders: Registry) -> None:
    crossl.register("encoder", FlatConfig)
    assert encoders["flat"] is FlatConfig
    assert kind_of(FlatConfig()) == "flat"
    crossl.register("encoder", FlatConfig)  # again is harmless


def test_a_name_that_is_taken_is_refused_with_who_has_it(encoders: Registry) -> None:
    crossl.register("encoder", FlatConfig)
    message = r"encoder 'flat': is registered already, by .*FlatConfig; choose another name"
    with pytest.raises(ConfigError, match=message):
        crossl.register("encoder", type("Other", (FlatConfig,), {}))


def test_an_unknown_sort_or_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'encodr' is not a sort of part; did you mean 'encoder'"):
        crossl.register("encodr", FlatConfig)
    registry_of_one = Registry("fruit")
    registry_of_one.add("apple", object())
    with pytest.raises(ConfigError, match="fruit 'aple': unknown; did you mean 'apple'"):
        _ = registry_of_one["aple"]


def test_settings_without_a_kind_are_refused() -> None:
    class Nameless(Settings):
        pass

    with pytest.raises(ConfigError, match="Nameless has no `kind"):
        crossl.register("encoder", Nameless)


class Point:
    """An entry point."""

    def __init__(self, name: str, called: Any) -> None:
        self.name = self.value = name
        self.called = called

    def load(self) -> Any:
        return self.called


def test_packages_register_once_and_one_that_fails_is_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []

    def broken() -> None:
        raise RuntimeError("no luck")

    points = [Point("bad", broken), Point("good", lambda: calls.append("good"))]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    monkeypatch.setattr(registry, "_loaded", set())
    registry.load_packages()
    registry.load_packages()
    assert calls == ["good"]
    assert "package of entry point 'bad': cannot register (no luck)" in caplog.text
