"""The page in a real browser: widths, colours, paper, and names that are no markup."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from monai_cpic.reporting.report import Report

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
NAME = "<script>document.title='run'</script>"

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    report = Report(f"FVC {NAME}", "subtitle", ["Simulated data"], {"Data": "/a/very/long/path" * 9, "Patients": NAME})
    numbers = np.arange(6.0)
    report.add_table("Patients", pd.DataFrame({"patient": [NAME] * 6, **{f"column {k}": 1000 * numbers for k in range(9)}}), NAME)
    figures = []
    for power, width in enumerate((4, 4, 10)):
        figure = Figure(figsize=(width, 3))
        figure.subplots().plot(numbers**power)
        figures.append(figure)
    report.add_figures("Small", {NAME: figures[0], "second": figures[1]}, NAME)
    report.add_figure("Wide", figures[2], NAME)
    path = tmp_path_factory.mktemp("page") / "report.html"
    report.write(path)
    return path


def browse(page: Path, *options: str) -> str:
    """What Chromium prints."""
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000"]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    done = subprocess.run([*command, profile, *options, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def picture(page: Path, width: int, *options: str) -> np.ndarray:
    """The page as pixels ``[height, width, 3]``, 0 to 1."""
    path = page.parent / "picture.png"
    browse(page, f"--window-size={width},1600", f"--screenshot={path}", *options)
    return np.asarray(imread(path))[..., :3]


def test_names_are_shown_and_not_run(page: Path) -> None:
    found = browse(page, "--dump-dom")
    assert re.findall(r"<title>(.*?)</title>", found) == ["FVC &lt;script&gt;document.title='run'&lt;/script&gt;"]
    assert "<script" not in found and found.count("&lt;script&gt;") >= 10


def test_a_phone_shows_all_without_moving_the_page_sideways(page: Path, tmp_path: Path) -> None:
    """A copy that may run a script says how wide it is; in a frame, since a browser's window is wider than a phone."""
    text = re.sub(r"<meta http-equiv.*?>", "", page.read_text())
    script = "[document.documentElement.scrollWidth, document.querySelector('.wide').scrollWidth].join(' ')"
    (tmp_path / "copy.html").write_text(text.replace("</body>", f"<script>parent.postMessage({script}, '*')</script></body>"))
    frame = tmp_path / "frame.html"
    frame.write_text(
        "<title></title><script>onmessage = message => { document.title = message.data }</script>"
        "<iframe src='copy.html' style='width: 390px; height: 1600px; border: 0'></iframe>"
    )
    (title,) = re.findall(r"<title>(.*?)</title>", browse(frame, "--dump-dom"))
    page_width, table_width = map(int, title.split())
    assert page_width <= 390 < table_width  # the table is scrolled in its own box


def test_dark_and_light(page: Path) -> None:
    light = picture(page, 1200)
    dark = picture(page, 1200, "--blink-settings=preferredColorScheme=0")
    assert light[5, 5].min() > 0.95 and dark[5, 5].max() < 0.2
    assert light.mean() > dark.mean()


def test_paper_is_white_and_complete(page: Path) -> None:
    path = page.parent / "page.pdf"
    browse(page, "--no-pdf-header-footer", f"--print-to-pdf={path}", "--blink-settings=preferredColorScheme=0")
    content = path.read_bytes()
    assert content.startswith(b"%PDF") and content.count(b"/Subtype /Image") >= 3
