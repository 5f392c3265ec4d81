"""Outlets of Lab Streaming Layer in a process of their own, as a device or its program has them."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pylsl


def main(asked: dict) -> None:
    """Push samples for some seconds, at the rate of the clock, with times that jitter."""
    rng = np.random.default_rng(0)
    outlets = []
    for one in asked["outlets"]:
        info = pylsl.StreamInfo(one["name"], "test", one["channels"], one["rate_hz"], "float32",
                                one.get("id", ""))  # fmt: skip
        if "labels" in one:
            info.set_channel_labels(one["labels"])
        if "unit" in one:
            info.set_channel_units([one["unit"]] * one["channels"])
        outlets.append((one, pylsl.StreamOutlet(info)))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    began_s = asked.get("began_s") or pylsl.local_clock()
    sent = [int((pylsl.local_clock() - began_s) * one["rate_hz"]) for one, _ in outlets]
    until_s = pylsl.local_clock() + asked["seconds"]
    while pylsl.local_clock() < until_s:
        time.sleep(0.05)
        for number, (one, outlet) in enumerate(outlets):
            due = int((pylsl.local_clock() - began_s) * one["rate_hz"])
            count = due - sent[number]
            if count <= 0:
                continue
            values = rng.normal(size=(count, one["channels"]))
            late_s = rng.uniform(-1, 1) * asked.get("jitter_s", 0.0)
            outlet.push_chunk(values.tolist(), began_s + (due - 1) / one["rate_hz"] + late_s)
            sent[number] = due


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
