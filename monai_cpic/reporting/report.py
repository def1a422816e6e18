"""Files that a run leaves for its readers: one self-contained HTML page and the metrics as JSON."""

from __future__ import annotations

import base64
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from matplotlib import pyplot
from matplotlib.figure import Figure
from torch import Tensor

__all__ = ["Report", "write_metrics"]

DPI = 130  # a ten-inch figure stays sharp on a page of 62rem

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{{ title }}</title>
<style>
:root { --page: #fff; --text: #1b1f24; --quiet: #57606a; --line: #d0d7de; --stripe: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --page: #16191d; --text: #e3e7eb; --quiet: #a0a9b3; --line: #39414a; --stripe: #1e2328; }
}
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; background: var(--page); color: var(--text);
  font: 1rem/1.55 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.8rem; line-height: 1.2; }
h2 { margin: 2.5rem 0 .75rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); font-size: 1.25rem; }
h1, h2, p { overflow-wrap: anywhere; }
.subtitle, figcaption, caption { color: var(--quiet); }
figcaption, caption { font-size: .9rem; }
.subtitle { margin: .4rem 0 0; }
figure { margin: 0; }
img { display: block; box-sizing: border-box; max-width: 100%; height: auto; margin: 0 auto .5rem; padding: .5rem;
  border-radius: .4rem; background: #fff; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { caption-side: bottom; padding-top: .5rem; text-align: left; }
th, td { padding: .35rem .9rem; border-bottom: 1px solid var(--line); text-align: left; }
th { font-weight: 600; }
tbody tr:nth-child(even) { background: var(--stripe); }
.number { text-align: right; white-space: nowrap; }
@media print { figure, tr { break-inside: avoid; } }
</style>
</head>
<body>
<header>
<h1>{{ title }}</h1>
{% if subtitle %}<p class="subtitle">{{ subtitle }}</p>
{% endif %}</header>
<main>
{% for section in sections %}
<section>
<h2>{{ section.heading }}</h2>
{% for paragraph in section.paragraphs %}
<p>{{ paragraph }}</p>
{% endfor %}
{% if section.image %}
<figure>
<img src="data:image/png;base64,{{ section.image }}"
 alt="{{ section.heading }}{% if section.caption %}: {{ section.caption }}{% endif %}">
{% if section.caption %}<figcaption>{{ section.caption }}</figcaption>
{% endif %}</figure>
{% elif section.columns %}
<div class="wide">
<table>
{% if section.caption %}<caption>{{ section.caption }}</caption>
{% endif %}<thead>
<tr>{% for name, kind in section.columns %}<th scope="col" class="{{ kind }}">{{ name }}</th>{% endfor %}</tr>
</thead>
<tbody>
{% for row in section.rows %}
<tr>{% for cell in row %}<td class="{{ section.columns[loop.index0][1] }}">{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
{% endif %}
</section>
{% endfor %}
</main>
</body>
</html>
"""


@dataclass(frozen=True)
class _Section:
    """One heading and what stands below it, ready for the page."""

    heading: str
    caption: str = ""
    paragraphs: Sequence[str] = ()
    columns: Sequence[tuple[str, str]] = ()  # name and kind, "number" or "text"
    rows: Sequence[Sequence[str]] = ()
    image: str = ""  # base64


class Report:
    """A page of texts, tables and figures, in the order in which they are added.

    The page is one file: figures are inside it, and it loads nothing from anywhere.  All text is escaped.

    Args:
        title: heading of the page.
        subtitle: one line below it.

    Example:
        >>> report = Report("Forced vital capacity", "12 patients")
        >>> report.add_text("Data", "Baseline CT of 12 patients.")
        >>> report.add_table("Score", [{"model": "C-PIC", "score": -6.9}, {"model": "constant", "score": -8.1}])
        >>> report.write("report.html")  # doctest: +SKIP
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.title = title
        self.subtitle = subtitle
        self._sections: list[_Section] = []

    def add_text(self, heading: str, text: str) -> None:
        """Add plain text; an empty line begins a new paragraph."""
        self._sections.append(_Section(heading, paragraphs=[part for part in text.split("\n\n") if part.strip()]))

    def add_table(self, heading: str, table: pd.DataFrame | Sequence[Mapping[str, Any]], caption: str = "") -> None:
        """Add a table.

        Args:
            heading: of its section.
            table: a frame, of which a named index becomes the first column, or one mapping from column to value for each row.
            caption: what the columns mean, and their units.
        """
        frame = table if isinstance(table, pd.DataFrame) else pd.DataFrame(list(table))
        frame = frame.reset_index() if any(name is not None for name in frame.index.names) else frame
        if frame.empty:
            self._sections.append(_Section(heading, paragraphs=["The table has no rows."]))
            return
        columns = [
            (str(name), "number" if pd.api.types.is_numeric_dtype(frame.dtypes.iloc[k]) else "text")
            for k, name in enumerate(frame.columns)
        ]
        rows = [[_cell(value) for value in row] for row in frame.itertuples(index=False, name=None)]
        self._sections.append(_Section(heading, caption, columns=columns, rows=rows))

    def add_figure(self, heading: str, figure: Figure, caption: str = "") -> None:
        """Add a figure as it is now; it is drawn at once and closed, so that a report holds no more than its image.

        Args:
            heading: of its section; heading and caption are also the image's alternative text.
            figure: is empty afterwards.
            caption: what is to be seen.
        """
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=DPI, facecolor="white")
        pyplot.close(figure)  # of use only if pyplot made it
        figure.clear()
        self._sections.append(_Section(heading, caption, image=base64.b64encode(image.getvalue()).decode()))

    def write(self, path: str | Path) -> None:
        """Write the page; the file is complete or not there.  Missing folders are made."""
        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
        page = environment.from_string(PAGE).render(title=self.title, subtitle=self.subtitle, sections=self._sections)
        _write_whole(Path(path), page)


def write_metrics(path: str | Path, metrics: Mapping[str, Any]) -> None:
    """Write metrics as JSON, in their order; the file is complete or not there.  Missing folders are made.

    JSON has no NaN and no infinity: such a value is written as ``null``, so that one metric without a value does not cost the
    others.  Scalars and arrays of numpy and torch become numbers and lists; keys become strings.

    Args:
        path: of the file.
        metrics: numbers, texts, truth values, None, tensors, arrays, and lists and mappings of these.

    Raises:
        TypeError: for any other value; the message names the metric.
    """
    _write_whole(Path(path), json.dumps(_plain(metrics, ""), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _plain(value: Any, name: str) -> Any:
    """What JSON can hold of a metric."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Tensor | np.ndarray):
        return _plain(value.tolist(), name)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, f"{name}.{key}" if name else str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, f"{name}[{position}]") for position, inner in enumerate(value)]
    raise TypeError(
        f"the metric {name!r} is of type {type(value).__name__} ({value!r}), which JSON does not know: "
        "pass numbers, texts, tensors, or lists and mappings of these."
    )


def _cell(value: Any) -> str:
    """A value as it stands in a table: four significant digits, but never fewer than all before the decimal point."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "–"
    if isinstance(value, Real) and not isinstance(value, Integral):
        number = float(value)
        size = abs(number)
        if 0 < size < 1e-3 or 1e9 <= size < math.inf:
            return f"{number:.3e}"
        return f"{number:.1f}" if 1000 <= size < math.inf else f"{number:.4g}"
    return str(value)


def _write_whole(path: Path, text: str) -> None:
    """Write aside, then rename: nobody sees half a file, and an older one stays if writing fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
