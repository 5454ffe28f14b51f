"""How large the report of a 20-year daily run is, and how long a browser takes to open it and to draw every figure.

python benchmarks/report.py [RUN]     # a finished run; without one the demo is run first
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, sync_playwright

import heldout as ho
from heldout import demo

REPEATS = 7


def opening(browser: Browser, page_file: Path) -> tuple[float, float]:
    """Seconds to the first view (text and the first figure) and to the last figure."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    began = time.perf_counter()
    page.goto(page_file.as_uri())
    page.locator(".js-plotly-plot .main-svg").first.wait_for(state="attached")
    first = time.perf_counter() - began
    page.locator("html[data-drawn=all]").wait_for(state="attached")
    last = time.perf_counter() - began
    page.close()
    return first, last


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(sys.argv[1]) if len(sys.argv) > 1 else demo.run(out=Path(folder) / "demo").path
        page_file = ho.write_report(run, Path(folder) / "report.html").resolve()
        print(f"{page_file.stat().st_size / 1e6:.2f} MB (aim < 7)")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            opening(browser, page_file)  # the first page also starts the renderer
            times = [opening(browser, page_file) for _ in range(REPEATS)]
            browser.close()
    for name, column in zip(("first figure", "all figures"), zip(*times, strict=True), strict=True):
        print(
            f"{name}: median {median(column):.2f} s, {min(column):.2f} to {max(column):.2f} (aim < 2 to open)"
        )


if __name__ == "__main__":
    main()
