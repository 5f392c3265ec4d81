"""What is kept of a timeline in a few numbers, for pages and for programs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from crossl.predict.sight import Seen
from crossl.predict.timeline import Timeline


def record_of(seen: Seen, line: Timeline) -> dict[str, Any]:
    """Sum up a timeline.

    Args:
        seen: the recording.
        line: what was said of it.

    Returns:
        JSON values: `subject`, `session`, `began` (ISO 8601, or null), `zone`, `seconds`,
        `windows`, `labels` (windows of each), `unlabelled` (rows of each reason), `unusable`
        (windows by sensor and why it is not read), `seconds_without` a label, `sensors` and
        `absent` (of the run), `unseen`, `agreement` with what the recording says (share and number
        of windows, or null), `notes`.
    """
    began = line.when(seen.begin_s)
    labels = Counter(line.label[line.label != ""].tolist())
    reasons = Counter(line.reason[line.reason != ""].tolist())
    unusable = Counter[str]()
    for text in [] if line.unusable is None else line.unusable.tolist():
        unusable.update(text.split("; ") if text else [])
    held = dict(zip(line.modalities, np.any(line.present, axis=0).tolist(), strict=True))
    both = (line.truth != "") & (line.label != "")
    agree = float((line.truth[both] == line.label[both]).mean()) if both.any() else None
    said_s = sum(one.end_s - one.start_s for one in line.stretches())
    if line.kind == "numbers":
        said_s = float((line.end_s - line.start_s)[np.isfinite(line.outputs).all(axis=1)].sum())
    length_s = seen.end_s - seen.begin_s
    return {
        "subject": seen.subject,
        "session": seen.session,
        "began": began.isoformat(timespec="milliseconds") if began is not None else None,
        "zone": seen.zone,
        "seconds": round(length_s, 6),
        "windows": int(line.window.sum()),
        "labels": dict(labels.most_common()),
        "unlabelled": dict(reasons.most_common()),
        "unusable": dict(unusable.most_common()),
        "seconds_without": round(max(0.0, length_s - said_s), 6),
        "sensors": [name for name, there in held.items() if there],
        "absent": [name for name, there in held.items() if not there],
        "unseen": list(seen.unseen),
        "agreement": None if agree is None else {"share": agree, "windows": int(both.sum())},
        "notes": list(seen.notes),
    }
