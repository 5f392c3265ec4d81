"""Damage files of every format, and see that the answer is values or one sentence.

`python benchmarks/fuzz.py --mutants 400 --out benchmarks/fuzz.md`. Each mutant of a small whole
file (`fuzz_seeds.py`) is opened and read to its end in a process with limits of time and memory. A
finding is anything that is neither values nor a refusal of crossl in one line: an error of a
library, a crash, a hang, memory beyond sense. `--format csv --only 17` runs one again and shows it.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import unicodedata
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("POLARS_MAX_THREADS", "1")

from fuzz_seeds import SEEDS, SIGNED, sign

from crossl.errors import CrosslError

SECONDS, MEMORY_MIB, ADDRESSES = 10, 1024, 8 << 30
SHOWN = 120
LONGEST = 600
BATCH = 100
NUMBERS = (b"-1", b"0", b"1", b"nan", b"inf", b"1e400", b"-0.0", b"99999999999", b"9" * 30, b"x",
           b"", b"1,5", b"1e-300", b"2147483648", b"0x10", b"\xff", b"\0", b"1" * 5000)  # fmt: skip
WORDS = (b"a: &a [*a]", b"!!python/object:os.system x", b"\t", b"- ", b"{", b"}", b"[" * 200,
         b"'", b'"', b"*", b": ", b"<<: ", b"null", b"true", b"\r", b"\n\n", b"..", b"/etc/passwd",
         b"\xe2\x80\xae", b"\x1b[2J", b"\xed\xa0\x80", b"{subject}", b"*a" * 20)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 0.5, 1e308, float("nan"), float("inf"), 2**70, "", "x", "..", "../../x",
    "/etc/passwd", "x" * 5000, "\x1b[2J", "a\nb", "\ud800", [], {}, [[]], [None], {"a": None}, "9",
)  # fmt: skip

Bytes = bytearray


# --- mutants


def somewhere(data: Bytes, chance: random.Random) -> int:
    """Choose a byte: often of the beginning or the end, where formats say what is inside."""
    length = len(data)
    reach = chance.choice((length, min(length, 300), min(length, 1500)))
    at = chance.randrange(reach)
    return length - 1 - at if chance.random() < 0.2 else at


def flip(data: Bytes, chance: random.Random) -> None:
    """Flip a bit."""
    data[somewhere(data, chance)] ^= 1 << chance.randrange(8)


def overwrite(data: Bytes, chance: random.Random) -> None:
    """Put a number of interest over some bytes."""
    width = chance.choice((1, 2, 4, 8))
    number = chance.choice((0, 1, 2**31 - 1, 2**31, 2**63, 2**64 - 1, 255, chance.getrandbits(64)))
    at = somewhere(data, chance)
    order: Any = chance.choice(("little", "big"))
    data[at : at + width] = (number % 2 ** (8 * width)).to_bytes(width, order)


def cut(data: Bytes, chance: random.Random) -> None:
    """Take out a slice, or the rest."""
    at = somewhere(data, chance)
    end = at + chance.choice((1, 4, 64, len(data)))
    del data[at:end]


def insert(data: Bytes, chance: random.Random) -> None:
    """Put in bytes: random ones, or a slice of the file."""
    at, length = chance.randrange(len(data) + 1), chance.choice((1, 4, 100))
    begin = chance.randrange(len(data))
    data[at:at] = chance.choice((chance.randbytes(length), bytes(length),
                                 data[begin : begin + length]))  # fmt: skip


def number(data: Bytes, chance: random.Random) -> None:
    """Replace a number that is written in digits; within its field half of the time."""
    places = [found.span() for found in re.finditer(rb"[-+]?\d+(?:\.\d+)?", bytes(data[:100_000]))]
    if not places:
        flip(data, chance)
        return
    begin, end = chance.choice(places)
    new = chance.choice(NUMBERS)
    if chance.random() < 0.5:
        new = new[: end - begin].ljust(end - begin)  # in an EDF header all else would move
    data[begin:end] = new


def word(data: Bytes, chance: random.Random) -> None:
    """Put a word of some format between two words."""
    places = [found.start() for found in re.finditer(rb"\b", bytes(data[:100_000]))]
    at = chance.choice(places or [0])
    data[at:at] = chance.choice(WORDS)


def line(data: Bytes, chance: random.Random) -> None:
    """Drop a line, repeat one, move one elsewhere, or change how deep it stands."""
    lines = bytes(data).split(b"\n")
    at = chance.randrange(len(lines))
    one = lines.pop(at)
    new = chance.choice(([], [one, one], [b"  " + one], [one.lstrip()], [one + b"\r"], [b""]))
    place = chance.choice((at, at, chance.randrange(len(lines) + 1)))
    data[:] = b"\n".join([*lines[:place], *new, *lines[place:]])


def sign_of_text(data: Bytes, chance: random.Random) -> None:
    """Replace one separator, mark or letter by another."""
    places = [found.start() for found in re.finditer(rb"[,;:.\n\-{}\[\]]", bytes(data[:100_000]))]
    at = chance.choice(places or [0])
    data[at : at + 1] = chance.choice(b",;:.\n\t -{}[]#%|\"'").to_bytes(1, "little")


WILD = (flip, overwrite, cut, insert, number, word)
TEXTUAL = (number, number, word, line, line, sign_of_text)
IN_PLACE = (flip, overwrite, overwrite, number)


def change(data: bytes, chance: random.Random) -> bytes:
    """Change bytes one to four times: a text as text, anything else mostly without moving it."""
    out = Bytes(data)
    text = out[:2000].isascii() and b"\0" not in out[:2000] and out[:8] != b"0       "
    usual = TEXTUAL if text else IN_PLACE
    changes = WILD if chance.random() < 0.2 else usual
    for _ in range(chance.choice((1, 1, 2, 4))):
        if out:
            chance.choice(changes)(out, chance)
    return bytes(out)


def change_inside(data: bytes, name: str, chance: random.Random) -> bytes:
    """Unpack, change what is inside, and pack again, so that checksums fit."""
    if name.endswith((".gz", ".xdfz")):
        return gzip.compress(change(gzip.decompress(data), chance), mtime=0)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as whole, zipfile.ZipFile(out, "w", 8) as packed:
        chosen = chance.choice(whole.namelist())
        for one in whole.namelist():
            inside = whole.read(one)
            packed.writestr(one, change(inside, chance) if one == chosen else inside)
    return out.getvalue()


def change_value(values: Any, chance: random.Random) -> Any:
    """Replace, remove or repeat a value somewhere in JSON values."""
    if isinstance(values, dict) and values and chance.random() < 0.85:
        key = chance.choice(sorted(values))
        if chance.random() < 0.1:
            return {k: v for k, v in values.items() if k != key}
        return {**values, key: change_value(values[key], chance)}
    if isinstance(values, list) and values and chance.random() < 0.85:
        at = chance.randrange(len(values))
        new = [change_value(values[at], chance)] * chance.choice((0, 1, 1, 1, 2))
        return [*values[:at], *new, *values[at + 1 :]]
    return chance.choice(VALUES)


def mutate(folder: Path, file: Path, name: str, chance: random.Random) -> None:
    """Damage a file of a folder, or one beside it that is read with it."""
    if name in SIGNED:
        others = sorted(p for p in file.parent.rglob("*") if p.is_file() and p != file)
        if chance.random() < 0.6:
            values = change_value(json.loads(file.read_text()), chance)
            file.write_text(json.dumps(values))
        else:
            other = chance.choice(others)
            other.write_bytes(change(other.read_bytes(), chance))
        if chance.random() < 0.95:
            sign(file)
        return
    beside = [file, *folder.glob(f"{file.stem}.*")] if name == "wfdb" else [file]
    chosen = chance.choice(beside)
    data = chosen.read_bytes()
    packed = chosen.name.endswith((".gz", ".zip", ".npz", ".xdfz"))
    inside = packed and chance.random() < 0.6
    chosen.write_bytes(change_inside(data, chosen.name, chance) if inside else change(data, chance))


# --- one mutant


class SlowError(BaseException):
    """Reading took longer than it may."""


def outcome(name: str, file: Path) -> tuple[str, str]:
    """Read a file to its end; tell how that went: `read`, `refused`, or what is wrong."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            SEEDS[name][2](file)
    except CrosslError as error:
        said = str(error)
        kinds = {unicodedata.category(sign) for sign in said.replace("\t", " ")}
        good = not kinds & {"Cc", "Cs", "Zl", "Zp"} and len(said) <= LONGEST
        return ("refused" if good else "not a sentence"), said
    except SlowError:
        return "hang", f"longer than {SECONDS} s"
    except BaseException as error:  # noqa: BLE001 - what must not come out is what is looked for
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.name}"
        return type(error).__name__, f"{str(error)[:SHOWN]} ({where})"
    return "read", ""


def prepare(name: str, scratch: Path, number: int, seed: int) -> Path:
    """Copy the whole file into a folder of its own and damage it."""
    whole = scratch / "whole" / name
    file = whole / SEEDS[name][0]
    if not whole.exists():
        if name.startswith("store"):
            whole.mkdir(parents=True)
        else:
            file.parent.mkdir(parents=True)
        SEEDS[name][1](file)
    folder = scratch / f"{name}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    target = folder / SEEDS[name][0]
    mutate(target.parent, target, name, random.Random(f"{name}-{seed}-{number}"))  # noqa: S311
    return target


def work(name: str, numbers: range, seed: int, scratch: Path) -> None:
    """Run mutants one after another, and tell of each before and after it, a line each."""

    def slow(*_: object) -> None:
        raise SlowError

    signal.signal(signal.SIGALRM, slow)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in numbers:
        file = prepare(name, scratch, number, seed)
        print(json.dumps({"begin": number}), flush=True)
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        how, said = outcome(name, file)
        signal.setitimer(signal.ITIMER_REAL, 0)
        took = time.monotonic() - began
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
        if grown > MEMORY_MIB:
            how, said = "memory", f"{grown} MiB; {how}: {said}"
        print(json.dumps({"end": number, "how": how, "said": said, "took": took}), flush=True)
        shutil.rmtree(scratch / f"{name}-{number}", ignore_errors=True)


# --- all of them


def run_batch(name: str, numbers: range, seed: int, scratch: Path) -> list[dict[str, Any]]:
    """Run mutants in a process of their own, and in another one those behind a crash."""
    out: list[dict[str, Any]] = []
    while len(numbers):
        command = [sys.executable, __file__, "--work", name, str(numbers.start), str(numbers.stop),
                   str(seed), str(scratch)]  # fmt: skip
        log = scratch / "lines"
        with log.open("wb") as lines, (scratch / "errors").open("wb") as errors:
            process = subprocess.Popen(command, stdout=lines, stderr=errors)
            seen, since = 0, time.monotonic()
            while process.poll() is None:
                time.sleep(0.05)
                if log.stat().st_size != seen:
                    seen, since = log.stat().st_size, time.monotonic()
                elif time.monotonic() - since > 60 + 2 * SECONDS:
                    process.kill()
        told = [json.loads(line) for line in log.read_text().splitlines()]
        out += [line for line in told if "end" in line]
        begun = [line["begin"] for line in told if "begin" in line]
        if not begun:
            raise SystemExit((scratch / "errors").read_text())
        if not told or "end" not in told[-1]:
            how = "hang" if process.returncode == -signal.SIGKILL else "crash"
            out.append({"end": begun[-1], "how": how, "said": f"exit {process.returncode}",
                        "took": float(SECONDS)})  # fmt: skip
        numbers = range(begun[-1] + 1, numbers.stop)
    return out


def fuzz(names: list[str], count: int, seed: int, scratch: Path) -> dict[str, list[dict[str, Any]]]:
    """Run that many mutants of each format, and show findings as they come."""
    results: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        results[name] = []
        for begin in range(0, count, BATCH):
            results[name] += run_batch(name, range(begin, min(begin + BATCH, count)), seed, scratch)
        for one in results[name]:
            if one["how"] not in ("read", "refused"):
                print(f"{name} {one['end']}: {one['how']}: {one['said']}", flush=True)
        print(f"{name}: {dict(Counter(one['how'] for one in results[name]))}", flush=True)
    return results


def report(results: dict[str, list[dict[str, Any]]], seed: int) -> str:
    """Write the table, and a line for each finding."""
    count = max(len(rows) for rows in results.values())
    lines = [
        "# Damaged files of every format", "",
        f"`python benchmarks/fuzz.py --mutants {count} --seed {seed} --out benchmarks/fuzz.md`: "
        "small whole files, changed in one to four places (in packed ones also inside, in stores "
        "and runs signed again), opened and read to their end in a process with limits. Anything "
        "else than values or a refusal in one line is a finding.", "",
        "| format | mutants | read | refused in a sentence | findings | slowest, s |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    findings = []
    for name, rows in results.items():
        how = Counter(one["how"] for one in rows)
        bad = [one for one in rows if one["how"] not in ("read", "refused")]
        findings += [f"- `{name}` {one['end']}: {one['how']}: {one['said']}" for one in bad]
        slowest = max(one["took"] for one in rows)
        lines.append(f"| {name} | {len(rows)} | {how['read']} | {how['refused']} | {len(bad)} | "
                     f"{slowest:.1f} |")  # fmt: skip
    return "\n".join([*lines, "", *(findings or ["No findings."]), ""])


def main() -> None:
    """Fuzz and report."""
    if sys.argv[1:2] == ["--work"]:
        name, begin, end, seed, scratch = sys.argv[2:]
        work(name, range(int(begin), int(end)), int(seed), Path(scratch))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=400, help="of each format")
    parser.add_argument("--format", choices=sorted(SEEDS), action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="run one mutant here, and show what it says")
    parser.add_argument("--keep", type=Path, help="with --only: where its files stay")
    parser.add_argument("--out", type=Path, help="file of the table")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = asked.keep or Path(folder)
        if asked.only is not None:
            file = prepare(asked.format[0], scratch, asked.only, asked.seed)
            print(file, *outcome(asked.format[0], file), sep="\n")
            return
        results = fuzz(asked.format or list(SEEDS), asked.mutants, asked.seed, scratch)
    if asked.out:
        asked.out.write_text(report(results, asked.seed))
    if any(one["how"] not in ("read", "refused") for rows in results.values() for one in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
