"""Decode: what windows say in the light of those around them, by a hidden Markov model.

Rabiner, A tutorial on hidden Markov models, Proc. IEEE 77 (1989). States are the classes of a
classifier. A window's emission is its probability over the class's share in training, as in hybrid
speech recognisers (Bourlard and Morgan, Connectionist Speech Recognition, 1994). Deviations:
neighbours overlap and err alike, so what they say is not independent. The emission's logarithm is
multiplied by a weight, of 1 at most, and at every stride the chain forgets with some probability,
that is, draws a class anew. With a weight of 1 and nothing but forgetting, a window says what it
says alone.

Numpy and nothing else is needed, so that it runs where there is no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from crossl.errors import FormatError

Form: TypeAlias = Literal["causal", "whole"]
"""`causal` reads what came before a window and itself, `whole` the recording to its end."""

FORMS: tuple[Form, ...] = ("causal", "whole")
RESTART_S = 300.0
"""After so many seconds without a window the chain begins anew."""
LEAST = 1e-12
"""A probability counts for at least this."""

Float64: TypeAlias = NDArray[np.float64]
Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Chain:
    """A Markov chain of R states.

    Attributes:
        initial: (R,) probability of the first state.
        transition: (R, R) from the row's state to the column's, in one stride.
    """

    initial: Float64
    transition: Float64
    _powers: dict[int, Float64] = field(default_factory=dict, init=False, compare=False, repr=False)

    def over(self, strides: int) -> Float64:
        """Return the transition over some strides, (R, R)."""
        if strides == 1:
            return self.transition
        if strides not in self._powers:
            self._powers[strides] = np.linalg.matrix_power(self.transition, strides)
        return self._powers[strides]

    def next(self, before: Float64 | None, emission: Float64, strides: int) -> Float64:
        """Return the probability of each state now, (..., R): one step of the forward pass.

        Args:
            before: the same of the window before, (..., R); None for the first.
            emission: (..., R) likelihood of what is seen, up to a factor.
            strides: since the window before; 0 begins anew.
        """
        anew = before is None or strides == 0
        expected = self.initial if anew else np.asarray(before) @ self.over(strides)
        return _normalised(expected * emission, emission)


def _normalised(joint: Float64, otherwise: Float64) -> Float64:
    """Let the last axis sum to 1; what is impossible altogether falls back on what is seen."""
    total = joint.sum(axis=-1, keepdims=True)
    joint = np.where(total > 0, joint, otherwise)
    return np.asarray(joint / joint.sum(axis=-1, keepdims=True))


def forward(chain: Chain, emission: Float64, strides: Array) -> Float64:
    """Return the probability of each state given all windows up to each, (n, ..., R).

    Args:
        chain: of R states.
        emission: (n, ..., R) likelihoods, each window's up to a factor; chains beside each other
            are in the axes between.
        strides: (n,) since the window before; 0 where the chain begins anew.

    Examples:
        >>> chain = Chain(np.array([0.5, 0.5]), np.array([[0.9, 0.1], [0.1, 0.9]]))
        >>> seen = np.array([[0.8, 0.2], [0.4, 0.6]])
        >>> forward(chain, seen, np.array([0, 1])).round(2)
        array([[0.8 , 0.2 ],
               [0.65, 0.35]])
    """
    out = np.empty(emission.shape)
    now: Float64 | None = None
    for row, (seen, since) in enumerate(zip(emission, strides.tolist(), strict=True)):
        now = out[row] = chain.next(now, seen, since)
    return out


def smooth(chain: Chain, emission: Float64, strides: Array) -> Float64:
    """Return the probability of each state given all windows, (n, ..., R): forward-backward.

    Args:
        chain: of R states.
        emission: (n, ..., R) likelihoods, each window's up to a factor.
        strides: (n,) since the window before; 0 where the chain begins anew.
    """
    out = forward(chain, emission, strides)
    behind = np.ones(emission.shape[1:])
    for row in range(len(out) - 2, -1, -1):
        since = int(strides[row + 1])
        if since == 0:
            behind = np.ones(emission.shape[1:])
            continue
        behind = (behind * emission[row + 1]) @ chain.over(since).T
        behind = behind / np.maximum(behind.max(axis=-1, keepdims=True), np.finfo(float).tiny)
        out[row] = _normalised(out[row] * behind, out[row])
    return out


def viterbi(chain: Chain, emission: Float64, strides: Array) -> NDArray[np.int64]:
    """Return the most probable sequence of states, (n,).

    Between windows that lie apart, whatever may have been there counts: the transition is a power.

    Args:
        chain: of R states.
        emission: (n, R) likelihoods, each window's up to a factor.
        strides: (n,) since the window before; 0 where the chain begins anew.
    """
    with np.errstate(divide="ignore"):
        first, seen = np.log(chain.initial), np.log(emission)
        logs = {k: np.log(chain.over(k)) for k in set(strides.tolist()) if k}
    came = np.zeros(emission.shape, dtype=np.int64)
    best = np.zeros(len(chain.initial))
    for row, since in enumerate(strides.tolist()):
        if row == 0 or since == 0:
            came[row], before = best.argmax(), first + (best.max() if row else 0.0)
        else:
            reached = best[:, None] + logs[since]
            came[row], before = reached.argmax(axis=0), reached.max(axis=0)
        best = before + seen[row]
    path = np.zeros(len(emission), dtype=np.int64)
    state = int(best.argmax())
    for row in range(len(path) - 1, -1, -1):
        path[row], state = state, int(came[row, state])
    return path


@dataclass(frozen=True)
class Decoder:
    """A chain over the classes of a classifier, and how much a window counts in it.

    Attributes:
        chain: of the R classes, as labels follow each other.
        prior: (R,) share of each class in what the classifier learned from.
        stride_s: seconds of one step of the chain.
        weight: of what a window says, by form.
        forget: probability that a class is drawn anew at a stride, by form.
        helps: whether validation subjects were better off with it, by form.
        restart_s: seconds without a window after which the chain begins anew.
    """

    chain: Chain
    prior: Float64
    stride_s: float
    weight: Mapping[Form, float]
    forget: Mapping[Form, float]
    helps: Mapping[Form, bool]
    restart_s: float = RESTART_S
    _chains: dict[Form, Chain] = field(default_factory=dict, init=False, compare=False, repr=False)

    def chain_of(self, form: Form) -> Chain:
        """Return the chain with its forgetting."""
        if form not in self._chains:
            share = self.forget[form]
            transition = (1 - share) * self.chain.transition + share * self.prior
            self._chains[form] = Chain(self.chain.initial, transition)
        return self._chains[form]

    def strides(self, start_s: Float64) -> NDArray[np.int64]:
        """Count the strides since the window before, (n,); 0 where the chain begins anew.

        Args:
            start_s: (n,) of the windows of one recording, in order.
        """
        since_s = np.diff(start_s)
        out = np.zeros(len(start_s), dtype=np.int64)
        count = np.maximum(1, np.round(since_s / self.stride_s)).astype(np.int64)
        out[1:] = np.where(since_s > self.restart_s, 0, count)
        return out

    def emission(self, probability: Array, weight: float) -> Float64:
        """Return likelihoods of what windows say, (..., R), 1 at most.

        Args:
            probability: (..., R), calibrated; NaN where nothing is said, which counts for nothing.
            weight: of what a window says.
        """
        said = np.asarray(probability, dtype=np.float64)
        logs = np.log(np.maximum(said, LEAST)) - np.log(self.prior)
        logs = weight * np.where(np.isnan(logs), 0.0, logs)
        return np.asarray(np.exp(logs - logs.max(axis=-1, keepdims=True)))

    def probabilities(self, probability: Array, start_s: Float64, form: Form) -> Float64:
        """Return the probability of each class in context, (n, ..., R).

        Args:
            probability: (n, ..., R), calibrated, of each window by itself; NaN where nothing is
                said, and there it stays.
            start_s: (n,) seconds, in order.
            form: what is read.
        """
        emission = self.emission(probability, self.weight[form])
        way = forward if form == "causal" else smooth
        found = way(self.chain_of(form), emission, self.strides(start_s))
        return np.where(np.isnan(probability), np.nan, found)

    def path(self, probability: Array, start_s: Float64) -> NDArray[np.int64]:
        """Return the most probable sequence of classes, (n,); windows that say nothing have one.

        Args:
            probability: (n, R), calibrated; NaN where nothing is said.
            start_s: (n,) seconds, in order.
        """
        emission = self.emission(probability, self.weight["whole"])
        return viterbi(self.chain_of("whole"), emission, self.strides(start_s))

    def follower(self) -> Follower:
        """Return what reads windows one after another, as `probabilities` does with `causal`."""
        return Follower(self)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "initial": self.chain.initial.tolist(), "transition": self.chain.transition.tolist(),
            "prior": self.prior.tolist(), "stride_s": self.stride_s,
            "restart_s": self.restart_s, "weight": dict(self.weight), "forget": dict(self.forget),
            "helps": dict(self.helps),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Decoder:
        """Build from what `as_dict` returned.

        Raises:
            FormatError: it is something else.
        """
        try:
            initial, transition, prior = (
                np.array(values[name], dtype=np.float64)
                for name in ("initial", "transition", "prior")
            )
            weight: dict[Form, float] = {form: float(values["weight"][form]) for form in FORMS}
            forget: dict[Form, float] = {form: float(values["forget"][form]) for form in FORMS}
            helps: dict[Form, bool] = {form: values["helps"][form] is True for form in FORMS}
            times = [float(values[name]) for name in ("stride_s", "restart_s")]
            shapes = prior.shape == initial.shape and transition.shape == initial.shape * 2
            sums = np.r_[initial.sum(), transition.sum(axis=1)]
            positive = np.r_[prior, *weight.values(), *times]
            good = (
                shapes and initial.ndim == 1 and np.allclose(sums, 1, atol=1e-6)
                and min(initial.min(), transition.min()) >= 0 and np.isfinite(positive).all()
                and (positive > 0).all() and all(0 <= one <= 1 for one in forget.values())
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, IndexError):
            good = False
        if not good:
            raise FormatError(
                "probe.json: its transitions between classes cannot be used; run `crossl probe` "
                "again"
            )
        return cls(Chain(initial, transition), prior, times[0], weight, forget, helps, times[1])


class Follower:
    """Reads the windows of a recording as they come; the same numbers as afterwards, to the bit.

    Args:
        context: of the classifier.
    """

    def __init__(self, context: Decoder) -> None:
        self.context = context
        self._now: Float64 | None = None
        self._start_s = 0.0

    def next(self, probability: Array, start_s: float) -> Float64:
        """Return the probability of each class in the light of all windows so far, (R,).

        Args:
            probability: (R,), calibrated; NaN where nothing is said.
            start_s: of the window, later than the one before.
        """
        context = self.context
        strides = 0
        if self._now is not None:
            strides = int(context.strides(np.array([self._start_s, start_s]))[1])
        emission = context.emission(probability, context.weight["causal"])
        self._now, self._start_s = (
            context.chain_of("causal").next(self._now, emission, strides),
            start_s,
        )
        return np.where(np.isnan(probability), np.nan, self._now)
