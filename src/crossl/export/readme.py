"""README: what lies beside an exported model, with programs in three languages that run it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from crossl.errors import counted
from crossl.sharing.markdown import code, plain

PYTHON = """\
import numpy as np
{calibrates}from crossl.runtime import Runtime  # numpy and onnxruntime alone, no torch

runtime = Runtime({file})
windows = {{  # in the units above; a sensor that was not recorded is left out
{arrays}
}}
answer = runtime({given})
print(answer.{shown})
"""

JAVASCRIPT = """\
import * as ort from "onnxruntime-node"; // in a browser: "onnxruntime-web"

const session = await ort.InferenceSession.create({file});
const shapes = {shapes};
const feeds = {{ present: new ort.Tensor("bool", Uint8Array.from({present}), [1, {count}]) }};
for (const [name, shape] of Object.entries(shapes)) {{
  const samples = new Float32Array(shape.reduce((a, b) => a * b)); // yours, zeros where absent
  feeds[name] = new ort.Tensor("float32", samples, shape);
}}
const found = await session.run(feeds);
console.log({names}, found.{output}.data);
"""

CPP = """\
#include <iostream>
#include <onnxruntime_cxx_api.h>

int main() {{
  Ort::Env env;
  Ort::Session session(env, ORT_TSTR({file}), Ort::SessionOptions{{}});
  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const char* names[] = {{{quoted}, "present"}};
  std::vector<std::vector<int64_t>> shapes = {{{braces}}};
  bool present[] = {{{booleans}}};  // whether each sensor was recorded
  std::vector<std::vector<float>> samples;  // yours, zeros where absent
  std::vector<Ort::Value> inputs;
  for (const auto& s : shapes) {{
    samples.emplace_back(s[0] * s[1] * s[2]);
    inputs.push_back(Ort::Value::CreateTensor<float>(
        memory, samples.back().data(), samples.back().size(), s.data(), s.size()));
  }}
  int64_t shape[] = {{1, {count}}};
  inputs.push_back(Ort::Value::CreateTensor<bool>(memory, present, {count}, shape, 2));
  const char* outputs[] = {{"{output}"}};
  auto found = session.Run(Ort::RunOptions{{}}, names, inputs.data(), inputs.size(), outputs, 1);
  auto info = found[0].GetTensorTypeAndShapeInfo();
  for (size_t i = 0; i < info.GetElementCount(); ++i)
    std::cout << found[0].GetTensorData<float>()[i] << "\\n";
}}
"""


def readme_of(file: str, contract: Mapping[str, Any]) -> str:
    """Say in Markdown what a model expects, what it gives, and how to run it.

    Args:
        file: name of the model.
        contract: that it carries.
    """
    parts = [_head(file, contract), _sensors(contract), _outputs(contract)]
    blocks = blocks_of(file, contract)
    parts += [f"## {title}\n\n{said}\n\n```{language}\n{blocks[language]}```\n"
              for title, said, language in TITLES]  # fmt: skip
    return "\n".join(parts)


TITLES = (
    ("Python", 'Needs `pip install "crossl[runtime]"`; on a device without torch '
     "`pip install numpy onnxruntime` and `pip install --no-deps crossl`.", "python"),
    ("JavaScript", "Needs `npm install onnxruntime-node`, or `onnxruntime-web` in a browser.",
     "javascript"),
    ("C++", "Needs the headers and library of ONNX Runtime.", "cpp"),
)  # fmt: skip


def blocks_of(file: str, contract: Mapping[str, Any]) -> dict[str, str]:
    """Return a program for each language.

    Args:
        file: name of the model.
        contract: that it carries.
    """
    shapes = {m["name"]: [1, *contract["inputs"][m["name"]]["shape"][1:]]
              for m in contract["modalities"]}  # fmt: skip
    output = list(contract["outputs"])[-1]
    arrays = [f"    {json.dumps(name)}: np.zeros({tuple(shape)}, np.float32),"
              for name, shape in shapes.items()]  # fmt: skip
    shown = "label, answer.probabilities" if output == "probabilities" else output
    count, calibrated = len(shapes), contract["standardisation"] is not None
    told = {
        "file": json.dumps(file, ensure_ascii=False),
        "calibrates": "from crossl.data.arrays import Windows\n" if calibrated else "",
        "given": "Windows(windows, calibrated=True)" if calibrated else "windows",
        "output": output,
        "shown": shown,
        "count": count,
        "arrays": "\n".join(arrays),
        "shapes": json.dumps(shapes, ensure_ascii=False),
        "present": json.dumps([1] * count),
        "names": json.dumps(contract["names"], ensure_ascii=False),
        "quoted": ", ".join(json.dumps(name, ensure_ascii=False) for name in shapes),
        "braces": ", ".join("{" + ", ".join(map(str, one)) + "}" for one in shapes.values()),
        "booleans": ", ".join(["true"] * count),
    }
    return {"python": PYTHON.format(**told), "javascript": JAVASCRIPT.format(**told),
            "cpp": CPP.format(**told)}  # fmt: skip


def _head(file: str, contract: Mapping[str, Any]) -> str:
    run, parity = contract["run"], contract["parity"]
    worst = max(parity["largest_difference"].values())
    said = [
        f"# {plain(file)}",
        "",
        f"Made by crossl {contract['crossl']} (`crossl export`) from a run of the recipe "
        f"`{run['recipe']}` on {plain(run['dataset'] or 'arrays in memory')}. Terms of the data "
        f"that it learned from: {plain(contract['data_licence'])}.",
        "",
        f"Compared with the run under {parity['subsets']} sets of sensors, in batches of 1, 7 and "
        f"64, on {parity['windows']}: it differs by at most {worst:.1g} of the largest number.",
        "",
    ]
    if contract["int8"]:
        told = contract["int8"]["validation"]
        (a, b), (c, d) = told["all_sensors"], told["mean_over_sets"]
        said += [
            f"Weights and activations are integers of 8 bits; the model before that was compared. "
            f"{told['metric']} of {counted(told['windows'], 'window')} of "
            f"{counted(told['people'], 'validation subject')} went from {a:.3f} to {b:.3f} with "
            f"all sensors, and from {c:.3f} to {d:.3f} over sets of them."
            + ("" if told["people"] > 1 else " It may cost other people more."),
            "",
        ]
    return "\n".join(said)


def _sensors(contract: Mapping[str, Any]) -> str:
    rows = [f"## What goes in\n\nWindows of {contract['window_s']:g} s, float32, one array "
            "for each sensor, and `present`, which says of each sensor whether it was recorded. "
            "What stands in place of a sensor that was not changes nothing.\n",
            "| input | shape | unit | rate | channels |", "|---|---|---|---|---|"]  # fmt: skip
    for m in contract["modalities"]:
        shape = ", ".join(map(str, contract["inputs"][m["name"]]["shape"]))
        rows.append(f"| {code(m['name'])} | ({shape}) | {plain(m['unit'] or '-')} | "
                    f"{m['rate_hz']:g} Hz | {_joined(m['channels'])} |")  # fmt: skip
    names = _joined(m["name"] for m in contract["modalities"])
    rows.append(f"| `present` | (batch, {len(contract['modalities'])}) | bool | | {names} |\n")
    if contract["standardisation"] is not None:
        told = contract["standardisation"]["mean_and_deviation_of"]
        rows.append(f"Windows are calibrated first: each channel minus a mean and divided by a "
                    f"deviation, of {told}. `Runtime.windower` does so.\n")  # fmt: skip
    if contract["left_out"]:
        rows.append(f"Made for devices without {_joined(contract['left_out'])}.\n")
    return "\n".join(rows)


def _outputs(contract: Mapping[str, Any]) -> str:
    rows = ["## What comes out\n", "| output | shape | what it is |", "|---|---|---|"]
    for name, one in contract["outputs"].items():
        rows.append(f"| `{name}` | ({', '.join(map(str, one['shape']))}) | {one['values']} |")
    if contract["names"]:
        rows.append(f"\nIn this order: {_joined(contract['names'])}.")
    return "\n".join(rows) + "\n"


def _joined(names: Iterable[str]) -> str:
    return ", ".join(plain(name) for name in names)
