"""Stream rules: what a run's contract, or a store's manifest, says of how a stream is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from crossl.data.calibration import Calibration
from crossl.data.rate_change import RATE_FILTER
from crossl.data.recording import Modality
from crossl.data.windows import WindowSpec
from crossl.errors import ContractError


class StreamRules(NamedTuple):
    """How windows are cut.

    Attributes:
        modalities: what windows hold, in order.
        spec: how they are cut.
        calibration: how they are calibrated by their recording; None for not at all.
        recorded_hz: rate of chunks whose rate is changed, by modality; None for any.
    """

    modalities: list[Modality]
    spec: WindowSpec
    calibration: Calibration | None
    recorded_hz: dict[str, float | None]


def stream_rules(
    contract: Mapping[str, Any], *, where: str, resample: Sequence[str] = ()
) -> StreamRules:
    """Read the rules.

    Args:
        contract: what `model.json` or `manifest.json` says.
        where: names who asks in messages.
        resample: modalities whose chunks may have any rate, beside those that the contract names.

    Raises:
        ContractError: the contract does not say how windows are cut, or this version cannot change
            rates as it says.
    """
    if contract.get("window") is None:
        raise ContractError(
            f"{where}: the contract does not say how windows are cut (the run is of an older "
            "crossl, or was fitted on arrays); train it again from a store, or give the rules: "
            "Windower(modalities, WindowSpec(...))"
        )
    modalities = [Modality.from_dict(m) for m in contract["modalities"]]
    kept = contract.get("standardisation")
    resampled = contract.get("resampled", {})
    for name, how in resampled.items():
        if how["filter"] != RATE_FILTER:
            raise ContractError(
                f"{where}: the rate of '{name}' was changed by '{how['filter']}'; this version "
                f"of crossl has '{RATE_FILTER}'"
            )
    recorded_hz: dict[str, float | None] = {
        m.name: resampled[m.name]["from_hz"] for m in modalities if m.name in resampled
    }
    calibration = None if kept is None else Calibration.from_dict(kept)
    return StreamRules(modalities, WindowSpec(**contract["window"]), calibration,
                       recorded_hz | dict.fromkeys(resample))  # fmt: skip
