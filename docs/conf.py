"""How Sphinx builds the documentation site (`make docs`): the Markdown pages of this folder and the docstrings."""

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(Path(__file__).parent / "_extensions"))
os.environ.setdefault("FOUNDATION_LOG", str(ROOT / "build" / "docs.log"))

project = "Foundation"
author = "The Foundation developers"
copyright = author
release = re.search(r'__version__ = "(.*)"', (ROOT / "foundation" / "version.py").read_text()).group(1)
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "site_pages",
]
exclude_patterns = ["_extensions"]
source_suffix = {".md": "markdown"}

# Markdown. Headings get anchors as on GitHub, so that links such as models.md#two-streams work in both places.
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # included pages begin below the first level

# Docstrings. Types stand in the signatures, so they are not repeated below them.
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
toc_object_entries_show_parents = "hide"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 120
python_display_short_literal_types = True
nitpicky = True
# No page describes types of other packages, nor the inner parts of some classes; names in backticks are links only
# where there is a page.
OTHERS = (
    "collections",
    "numpy",
    "os",
    "pa",
    "pathlib",
    "pyarrow",
    "sklearn",
    "torch",
    "transformers",
    "typing",
    "zarr",
)
INNER = (
    "Bank",
    "CausalCleaner",
    "Detector",
    "Encoded",
    "Model",
    "NoSettings",
    "NoiseModel",
    "Outline",
    "Rows",
    "SpikeBlocks",
    "Work",
)
nitpick_ignore_regex = [
    (r"py:.*", rf"({'|'.join(OTHERS)})\..*"),
    ("py:obj", r".*"),
    ("py:class", rf".*\.({'|'.join(INNER)})"),
]
default_role = "name"

html_theme = "pydata_sphinx_theme"
html_title = "Foundation"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_math_renderer = "mathml"
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {
    "logo": {"text": "Foundation"},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 7,
    "show_nav_level": 1,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": []}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
