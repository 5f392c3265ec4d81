"""A made-up study in files of one's own: two devices, three people, what goes wrong in practice."""

from __future__ import annotations

import io

import numpy as np

START = 1_700_000_000.0

MAPPING = """
version: 1
name: my_study
modalities:
  watch_acc: {channels: [x, y, z], unit: g, rate_hz: 50, device: watch}
  phone_gyro: {channels: [x, y, z], unit: deg/s, rate_hz: 25, device: phone}
files:
  - pattern: "{subject}/{session}_watch.csv"
    clock: t
    signals: {watch_acc: [ax, ay, az]}
  - pattern: "{subject}/{session}_phone.csv"
    clock: time_ms
    clock_unit: ms
    signals: {phone_gyro: [gyro_x, gyro_y, gyro_z]}
  - pattern: "{subject}/{session}_labels.csv"
    intervals: {start: begin, end: end, label: activity}
"""


def watch_values(seed):
    """Return 20 s at 50 Hz of a wrist at rest, in g."""
    noise = np.random.default_rng(seed).normal(0, 0.05, (1000, 3))
    return np.round(noise + np.array([0, 0, 1]), 4)


def write_csv(path, names, rows, *, separator=",", decimal="."):
    text = io.StringIO()
    np.savetxt(text, rows, fmt="%.4f", delimiter=separator)
    body = text.getvalue() if decimal == "." else text.getvalue().replace(".", decimal)
    path.write_text(separator.join(names) + "\n" + body)


def make_study(root):
    """Write it: a gap of 1 s from 8 s, one duplicate sample; ben never carried the phone."""
    for number, subject in enumerate(("anna", "ben", "cleo")):
        (root / subject).mkdir(parents=True)
        for session in ("day1", "day2"):
            start = START + 1000 * number
            t = np.arange(1000) / 50 + start
            rows = np.c_[t, watch_values(number)]
            rows = rows[(t < start + 8) | (t >= start + 9)]
            rows = np.insert(rows, 11, rows[10], axis=0)
            write_csv(root / subject / f"{session}_watch.csv", ["t", "ax", "ay", "az"], rows)
            if subject != "ben":
                clock = (np.arange(500) / 25 + start + 0.5) * 1000
                turn = np.random.default_rng(9).normal(0, 60, (500, 3))
                write_csv(
                    root / subject / f"{session}_phone.csv",
                    ["time_ms", "gyro_x", "gyro_y", "gyro_z"],
                    np.c_[clock, turn],
                    separator=";",
                    decimal=",",
                )
            (root / subject / f"{session}_labels.csv").write_text(
                f"begin,end,activity\n{start},{start + 10},rest\n{start + 10},{start + 19},walk\n"
            )
    return root
