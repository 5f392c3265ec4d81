"""How the gallery of examples is made: run while the site is built, in the order of their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

SETTINGS: dict[str, Any] = {
    "examples_dirs": [str(ROOT / "examples" / "gallery")],
    "gallery_dirs": ["docs/gallery"],
    "filename_pattern": r".*\.py",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "write_computation_times": False,  # its page loads scripts from the network
    "image_srcset": ["2x"],
    "nested_sections": False,
}
