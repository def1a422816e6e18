"""A report: texts, tables and figures on one self-contained HTML page."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import pyplot
from matplotlib.figure import Figure

from monai_cpic.staging import write_whole

__all__ = ["Report", "cell_text"]

DPI = 130  # a figure of ten inches is sharp on a page of 62rem
WIDE = 8.0  # inches: a wider figure is not shrunk to the width of a phone, but scrolled


@dataclass(frozen=True)
class _Image:
    """A drawn figure: the image as base64, and how it is described to those who do not see it."""

    data: str
    description: str
    wide: bool


@dataclass(frozen=True)
class _Section:
    """A heading and the content below it, formatted for the page."""

    heading: str
    caption: str = ""
    paragraphs: Sequence[str] = ()
    columns: Sequence[tuple[str, str]] = ()  # name and kind, "number" or "text"
    rows: Sequence[Sequence[str]] = ()
    images: Sequence[_Image] = ()


class Report:
    """A page of texts, tables and figures, in the order in which they are added.

    The page is a single file that includes its figures and loads nothing from elsewhere.  All text is escaped.  It is laid out
    for phones, screens in light and dark, and paper.

    Args:
        title: heading of the page.
        subtitle: one line below it.
        notices: what a reader must know before reading on, such as that the data are simulated; set off from the text.
        facts: what the page is about, by name, such as the date; a list below the notices.

    Example:
        >>> report = Report("Forced vital capacity", "12 patients", ["Simulated data"], {"Date": "2024-02-29"})
        >>> report.add_text("Data", "Baseline CT of 12 patients.")
        >>> report.add_table("Score", [{"model": "C-PIC", "score": -6.9}, {"model": "constant", "score": -8.1}])
        >>> report.write("report.html")  # doctest: +SKIP
    """

    def __init__(
        self, title: str, subtitle: str = "", notices: Sequence[str] = (), facts: Mapping[str, str] | None = None
    ) -> None:
        self.title = title
        self.subtitle = subtitle
        self.notices = list(notices)
        self.facts = dict(facts or {})
        self._sections: list[_Section] = []

    def add_text(self, heading: str, text: str) -> None:
        """Add plain text; an empty line starts a new paragraph."""
        self._sections.append(_Section(heading, paragraphs=[part for part in text.split("\n\n") if part.strip()]))

    def add_table(self, heading: str, table: pd.DataFrame | Sequence[Mapping[str, Any]], caption: str = "") -> None:
        """Add a table.

        Args:
            heading: heading of its section.
            table: a data frame, whose named index becomes the first column, or a mapping from column to value for each row.
            caption: the meanings and units of the columns.
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
        rows = [[cell_text(value) for value in row] for row in frame.itertuples(index=False, name=None)]
        self._sections.append(_Section(heading, caption, columns=columns, rows=rows))

    def add_figure(self, heading: str, figure: Figure, caption: str = "") -> None:
        """Add a figure in its present state; it is drawn immediately and cleared, so that the report keeps only its image.

        Args:
            heading: heading of its section; heading and caption are also the alternative text of the image.
            figure: the figure, which is empty afterwards.
            caption: what the figure shows.
        """
        self._sections.append(
            _Section(heading, caption, images=[_drawn(figure, f"{heading}: {caption}" if caption else heading)])
        )

    def add_figures(self, heading: str, figures: Mapping[str, Figure], caption: str = "") -> None:
        """Add figures side by side, as many in a row as the page is wide; see :meth:`add_figure`.

        Args:
            heading: heading of their section.
            figures: the figures, by what each shows, which is its alternative text.
            caption: what all of them show.
        """
        images = [_drawn(figure, f"{heading}: {name}") for name, figure in figures.items()]
        self._sections.append(_Section(heading, caption, images=images))

    def write(self, path: str | Path) -> None:
        """Write the page.  The file is written completely or not at all; missing folders are created."""
        loader = PackageLoader("monai_cpic", "reporting")
        environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
        page = environment.get_template("page.html.j2")
        text = page.render(
            title=self.title, subtitle=self.subtitle, notices=self.notices, facts=self.facts, sections=self._sections
        )
        with write_whole(Path(path)) as unfinished:
            unfinished.write_text(text, encoding="utf-8")


def cell_text(value: Any) -> str:
    """A value as text: four significant digits, but all digits before the decimal point."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "–"
    if isinstance(value, Real) and not isinstance(value, Integral):
        number = float(value)
        size = abs(number)
        if 0 < size < 1e-3 or 1e9 <= size < math.inf:
            return f"{number:.3e}"
        return f"{number:.1f}" if 1000 <= size < math.inf else f"{number:.4g}"
    return str(value)


def _drawn(figure: Figure, description: str) -> _Image:
    """The image of a figure, which is cleared."""
    image, wide = io.BytesIO(), figure.get_figwidth() > WIDE
    figure.savefig(image, format="png", dpi=DPI, facecolor="white")
    pyplot.close(figure)  # pyplot keeps figures that it created until they are closed
    figure.clear()
    return _Image(base64.b64encode(image.getvalue()).decode(), description, wide)
