"""Which windows rules of usable sensors find: `python benchmarks/usable.py STORE...`.

Prints for each store and modality how many of its windows each rule finds, and what it costs.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

from crossl.data.store import Store
from crossl.doctor.usable import Usable


def main() -> None:
    """Look at every window of every store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", type=Path, nargs="+")
    for path in parser.parse_args().stores:
        store = Store.open(path)
        begun = time.perf_counter()
        reasons = Usable(store.modalities).check(store)
        cost = (time.perf_counter() - begun) / max(1, len(store)) * 1e6
        print(f"{path.name}: {len(store)} windows, {cost:.0f} microseconds each")
        for column, modality in enumerate(store.modalities):
            found = Counter(one for one in reasons[:, column].tolist() if one)
            told = ", ".join(f"{why} {count}" for why, count in found.most_common()) or "nothing"
            print(f"  {modality.name}: {int(store.present[:, column].sum())} present, {told}")


if __name__ == "__main__":
    main()
