"""A moving body, for files in the official formats that tests write."""

from __future__ import annotations

import numpy as np

GRAVITY = 9.80665


def walk(samples, rate_hz, *, seed=0, stride_hz=1.8):
    """Return acceleration (m/s^2, gravity included), rotation (rad/s), magnetic field (uT)."""
    rng = np.random.default_rng(seed)
    phase = 2 * np.pi * stride_hz * np.arange(samples) / rate_hz
    swing = np.stack([np.sin(phase), np.cos(phase), np.sin(2 * phase)], axis=1)
    acc = np.array([1.0, GRAVITY, -2.0]) + 1.5 * swing + rng.normal(size=(samples, 3)) * 0.2
    gyro = 0.8 * swing + rng.normal(size=(samples, 3)) * 0.05
    mag = np.array([20.0, -35.0, 25.0]) + 2 * swing + rng.normal(size=(samples, 3))
    return acc, gyro, mag


def save(path, table, *, fmt="%.6g", delimiter=" ", header=""):
    """Write a table the way the official files are written: NaN, and a line end behind all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if header:
        header += "\n"
    cells = np.char.mod(fmt, table)
    cells[np.isnan(table)] = "NaN"
    path.write_text(header + "".join(delimiter.join(row) + "\n" for row in cells.tolist()))


def change_line(path, number, change):
    """Change one line (counted from 1) of a text file."""
    lines = path.read_text().splitlines(keepends=True)
    lines[number - 1] = change(lines[number - 1])
    path.write_text("".join(lines))


def change_cell(path, number, column, cell, delimiter=" "):
    """Put something else into one cell, both counted from 1."""

    def change(line):
        cells = line.rstrip("\n").split(delimiter)
        cells[column - 1] = cell
        return delimiter.join(cells) + "\n"

    change_line(path, number, change)
