"""The documentation site: `make docs`.

The source of the site is the whole repository, so that one relative link works on the site and
where the files are read as they are. What should not be written by hand is generated while the site
is built: a page for each command, for each public name and for all settings of a run file, and the
gallery, whose examples are run. Nothing is downloaded.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")
# the commands that examples run are those of this environment
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
sys.path.insert(0, str(Path(__file__).parent))

from site_pages import gallery  # found by the line above

import crossl

project = "crossl"
author = "the crossl developers"
copyright = author
release = version = crossl.__version__
root_doc = "docs/index"
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "site_pages",
]
include_patterns = [
    "docs/**",
    "benchmarks/*.md",
    "benchmarks/speed/*.md",
    "benchmarks/results/*/tables.md",
    "examples/own_parts/README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = [
    ".*",
    "build",
    "dist",
    "src",
    "tests",
    "configs",
    "runs",
    "stores",
    "crossl-demo",
    "examples/gallery",
    "docs/site_pages",
    "docs/gallery/*.py",
    "docs/gallery/*.ipynb",
    "docs/gallery/*.md5",
    "**/__pycache__",
]

myst_heading_anchors = 4

default_role = "code"  # docstrings have names in single backticks
highlight_language = "none"
suppress_warnings = ["config.cache"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
napoleon_use_rtype = False
# types of other packages, and those of crossl that are not public, have no page to link to
nitpick_ignore_regex = [
    (r"py:.*", r"(numpy|np|torch|sklearn|pathlib|collections|typing|jaxtyping|pydantic)\..*"),
    (
        r"py:.*",
        r"(Path|Mapping|Sequence|Iterable|Any|NDArray|ArrayLike|Float32|Callable|Calibration|Modules|Signals)",
    ),
    (r"py:.*", r"crossl\.\w+\..*"),
]

sphinx_gallery_conf = gallery.SETTINGS

html_theme = "furo"
html_title = f"crossl {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#1f6f8b",
        "color-brand-content": "#1f6f8b",
    },
    "dark_css_variables": {
        "color-brand-primary": "#7cc4dc",
        "color-brand-content": "#7cc4dc",
    },
}
