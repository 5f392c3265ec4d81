"""Coverage: which share of whose recordings each sensor recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from crossl.doctor.finding import Coverage, Finding, in_order, one

LITTLE = 0.5
"""A subject whose sensor recorded less than half of the time has few windows with all sensors."""


class CoverageTally:
    """Sums recorded and possible time by subject and modality.

    Args:
        modalities: expected, in order; others are appended as they come.
    """

    def __init__(self, modalities: Sequence[str]) -> None:
        self.modalities = list(modalities)
        self._sums: dict[str, dict[str, tuple[float, float]]] = {}

    def add(self, subject: str, modality: str, there: float, possible: float) -> None:
        """Add the time that a modality recorded, and the time that it could have."""
        if modality not in self.modalities:
            self.modalities.append(modality)
        sums = self._sums.setdefault(subject, {})
        before = sums.get(modality, (0.0, 0.0))
        sums[modality] = before[0] + min(there, possible), before[1] + possible

    def table(self) -> Coverage:
        """Return shares by subject and modality."""
        subjects = in_order(self._sums)
        share = [[self._share(subject, name) for name in self.modalities] for subject in subjects]
        return Coverage(subjects, list(self.modalities), share)

    def _share(self, subject: str, modality: str) -> float:
        there, possible = self._sums[subject].get(modality, (0.0, 0.0))
        return there / possible if possible else 0.0

    def findings(self, least: float) -> Iterator[Finding]:
        """Judge every sensor; one finding for all subjects that lack it.

        Args:
            least: possible time below which a share is not judged.
        """
        for name in self.modalities:
            shares = {
                subject: self._share(subject, name)
                for subject in in_order(self._sums)
                if self._sums[subject].get(name, (0.0, 0.0))[1] >= least
            }
            if shares:
                yield from _judge(name, shares)


def _judge(name: str, shares: dict[str, float]) -> Iterator[Finding]:
    none = [subject for subject, share in shares.items() if share == 0]
    little = {subject: share for subject, share in shares.items() if 0 < share < LITTLE}
    if none:
        everyone = len(none) == len(shares)
        yield Finding(
            "coverage",
            "warning" if everyone else "note",
            name,
            "was recorded by nobody" if everyone else "was not recorded",
            "Leave it out (--without), or keep it for people who have it and are added later."
            if everyone
            else "crossl works without it: such windows "
            "lack the sensor. Check that it is not a file that was missed.",
            scope="" if everyone else "subjects",
            count=len(none),
            example="" if everyone else f"subject {none[0]}",
        )
    if little:
        worst = min(little, key=lambda subject: little[subject])
        yield Finding(
            "coverage",
            "warning",
            name,
            "was recorded {} of the time only",
            "Windows without it are kept and lack the sensor; check that no file was missed.",
            (little[worst], max(little.values())) if len(little) > 1 else one(little[worst]),
            "%",
            scope="subjects",
            count=len(little),
            example=f"subject {worst}",
        )
