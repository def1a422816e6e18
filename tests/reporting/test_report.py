"""The page is read back with a parser, the images with matplotlib."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.image import imread

from monai_cpic.reporting.report import Report

VOID = {"meta", "img"}  # elements without an end


class Page(HTMLParser):
    """Elements in order with their attributes, all text, and whether every element is closed where it should be."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


def drawn() -> Figure:
    figure = Figure(figsize=(4, 3))
    figure.subplots().plot([1, 2, 3])
    return figure


@pytest.fixture
def page(tmp_path: Path) -> Page:
    report = Report("FVC <of> 12 & more", "a subtitle")
    report.add_text("Data", "one\nline\n\n<script>alert(1)</script>\n\n\n")
    report.add_table(
        "Scores", [{"model": "a < b", "score": -6.91234, "n": 5}, {"model": None, "score": np.nan, "n": 12000}], "ml"
    )
    report.add_figure("Curve", drawn(), 'what "it" shows')
    report.add_figure("Another", drawn())
    report.write(tmp_path / "new" / "report.html")
    return Page(tmp_path / "new" / "report.html")


def test_structure(page: Page) -> None:
    assert page.texts["title"] == page.texts["h1"] == ["FVC <of> 12 & more"]
    assert page.texts["h2"] == ["Data", "Scores", "Curve", "Another"]
    assert page.texts["p"] == ["a subtitle", "one\nline", "<script>alert(1)</script>"]
    assert page.texts["figcaption"] == ['what "it" shows'] and page.texts["span"] == ["ml"]
    assert page.all("html") == [{"lang": "en"}]


def test_notices_and_facts_come_first(tmp_path: Path) -> None:
    report = Report("t", "", ["Simulated <data>"], {"Date": "2024-02-29", "Patients": "$\\bad$ & 2"})
    report.add_figures("Curves", {"A <1>": drawn(), "B": drawn()}, "both")
    report.write(tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert page.texts["p"] == ["Simulated <data>"]
    assert page.texts["dt"] == ["Date", "Patients"] and page.texts["dd"] == ["2024-02-29", "$\\bad$ & 2"]
    assert [image["alt"] for image in page.all("img")] == ["Curves: A <1>", "Curves: B"]
    assert page.texts["figcaption"] == ["both"] and page.source.index("Simulated") < page.source.index("<main>")


def test_nothing_is_loaded_or_run(page: Page) -> None:
    assert not page.all("script") and not page.all("link")
    references = [value for _, attributes in page.elements for name, value in attributes.items() if name in ("src", "href")]
    assert len(references) == 2 and all(str(value).startswith("data:image/png;base64,") for value in references)
    assert not re.search(r"https?://|@import|url\(", page.source)


def test_images_are_inside_and_described(page: Page) -> None:
    images = page.all("img")
    assert [image["alt"] for image in images] == ['Curve: what "it" shows', "Another"]
    for image in images:
        pixels = imread(io.BytesIO(base64.b64decode(str(image["src"]).split(",")[1])), format="png")
        assert pixels.shape[:2] == (390, 520) and pixels[..., :3].std() > 0.01


def test_table_cells(page: Page) -> None:
    assert page.texts["th"] == ["model", "score", "n"]
    assert page.texts["td"] == ["a < b", "-6.912", "5", "–", "–", "12000"]
    assert [cell["class"] for cell in page.all("td")] == ["text", "number", "number"] * 2


def test_large_and_small_numbers_and_named_index(tmp_path: Path) -> None:
    values = [2690.512, 0.5, 1e-5, 3e12, 0.0, -np.inf]
    report = Report("t")
    report.add_table("h", pd.DataFrame({"ml": values}, index=pd.Index(list("abcdef"), name="patient")))
    report.add_table("empty", [])
    report.write(tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert page.texts["th"] == ["patient", "ml"]
    assert page.texts["td"][1::2] == ["2690.5", "0.5", "1.000e-05", "3.000e+12", "0", "-inf"]
    assert page.texts["p"] == ["The table has no rows."]


def test_figures_are_closed_and_others_left_alone() -> None:
    mine, other = pyplot.figure(), pyplot.figure()
    mine.subplots().plot([1, 2])
    other.subplots()
    Report("t").add_figure("h", mine)
    assert not pyplot.fignum_exists(mine.number) and not mine.axes
    assert pyplot.fignum_exists(other.number) and other.axes
    pyplot.close(other)


def test_a_failed_write_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("older")
    report = Report("t")
    report.add_text("h", "not encodable: \ud800")
    with pytest.raises(UnicodeEncodeError):
        report.write(path)
    assert path.read_text() == "older" and list(tmp_path.iterdir()) == [path]
