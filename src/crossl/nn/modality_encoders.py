"""The encoders of a model: one per modality, or one for several of a kind; some may be frozen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from torch import nn

from crossl.data.recording import Modality
from crossl.errors import ConfigError, nearest


class ModalityEncoders(nn.ModuleDict):
    """The encoders of a set of modalities; one that is shared is kept once, under its first.

    A frozen encoder gets no gradient and stays in evaluation mode, whatever its model is told.

    Args:
        modalities: the M streams, in order.
        make: makes the encoder of a modality from it and the samples of its windows.
        window_s: length of a window, seconds.
        shared: groups of modalities of a kind; each has one encoder, that of the first it names.
        frozen: modalities whose encoder is not trained.

    Raises:
        ConfigError: no such modality, one that is in two groups, or a group whose modalities are
            not of a kind.

    Examples:
        >>> from crossl.nn.encoders import StridedEncoder
        >>> two = [Modality(name, ("x",), "V", 50.0) for name in ("left", "right")]
        >>> make = lambda modality, samples: StridedEncoder(len(modality.channels))
        >>> encoders = ModalityEncoders(two, make, window_s=2.0, shared=[("left", "right")])
        >>> len(encoders), encoders.of("left") is encoders.of("right")
        (1, True)
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        make: Callable[[Modality, int], nn.Module],
        *,
        window_s: float,
        shared: Sequence[Sequence[str]] = (),
        frozen: Collection[str] = (),
    ) -> None:
        super().__init__()
        by_name = {m.name: m for m in modalities}
        check_known("shared_encoders", [name for group in shared for name in group], by_name)
        check_known("frozen_encoders", frozen, by_name)
        first = _first_of_group(shared, by_name)
        # a prefix, because torch refuses names such as `type` or `values`
        self.key_of = {m.name: f"encode_{first.get(m.name, m.name)}" for m in modalities}
        for m in modalities:
            if self.key_of[m.name] not in self:
                own = by_name[first.get(m.name, m.name)]
                self[self.key_of[m.name]] = make(own, round(window_s * own.rate_hz))
        self.frozen = frozenset(self.key_of[name] for name in frozen)
        self.keep_frozen()

    def of(self, name: str) -> nn.Module:
        """Return the encoder of a modality."""
        found: nn.Module = self._modules[self.key_of[name]]  # type: ignore[assignment]  # never None
        return found

    def train(self, mode: bool = True) -> ModalityEncoders:  # noqa: FBT001, FBT002 - torch's own
        """Switch the mode of those that are trained."""
        super().train(mode)
        for key in self.frozen:
            self[key].eval()
        return self

    def keep_frozen(self) -> None:
        """Let no frozen parameter have a gradient."""
        for key in self.frozen:
            self[key].requires_grad_(requires_grad=False).eval()


def check_known(key: str, names: Iterable[str], modalities: Collection[str]) -> None:
    """Refuse the name of a modality that there is not.

    Args:
        key: of the setting that names it.
        names: of modalities.
        modalities: names that exist.

    Raises:
        ConfigError: names the first that does not.
    """
    for name in names:
        if name not in modalities:
            raise ConfigError(f"{key}: no modality is called '{name}'; {nearest(name, modalities)}")


def _first_of_group(
    groups: Sequence[Sequence[str]], modalities: dict[str, Modality]
) -> dict[str, str]:
    """Return the first modality of the group of each that shares its encoder.

    Raises:
        ConfigError: they are in two groups, or not of a kind.
    """
    first: dict[str, str] = {}
    for group in groups:
        if len(set(group)) < 2:
            raise ConfigError(
                f"shared_encoders: a group is {list(group)}; at least two modalities share one"
            )
        for name in group:
            if name in first:
                raise ConfigError(f"shared_encoders: '{name}' is named twice; it has one encoder")
            first[name] = group[0]
            one, other = (_kind(modalities[n]) for n in (group[0], name))
            if one != other:
                raise ConfigError(
                    f"shared_encoders: '{group[0]}' has {one} and '{name}' {other}; one encoder is "
                    "shared by modalities of as many channels, one unit and one rate"
                )
    return first


def _kind(modality: Modality) -> str:
    channels = len(modality.channels)
    unit = f" in {modality.unit}" if modality.unit else ""
    return f"{channels} channel{'s' * (channels != 1)}{unit} at {modality.rate_hz:g} Hz"
