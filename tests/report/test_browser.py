"""The page in a browser: figures are drawn, names do nothing, nothing leaves it, and everybody can read it."""

from itertools import pairwise

import pytest

from heldout.report.compare import compare
from heldout.report.compare_page import write_comparison
from heldout.report.run_report import write_report
from tests.report.conftest import TARGET
from tests.report.pages import CONTRAST, open_page


@pytest.fixture(scope="module")
def address(run):
    return write_report(run).as_uri()


@pytest.fixture(scope="module")
def wide(browser, address):
    """For tests that leave the page as it was."""
    return open_page(browser, address)


@pytest.fixture(scope="module")
def phone(browser, address):
    """In dark mode; for tests that leave the page as it was."""
    return open_page(browser, address, width=390, color_scheme="dark", has_touch=True)


@pytest.fixture(scope="module")
def beside(browser, run, better, folder):
    """A comparison."""
    return open_page(browser, write_comparison(compare(run, better), folder / "compare.html").as_uri())


def test_every_figure_is_drawn_and_nothing_is_said_or_asked(wide, address):
    sizes = wide.evaluate(
        "[...document.querySelectorAll('figure .plot')].map((e) => { const s = e.querySelector('svg.main-svg');"
        "return s ? [s.clientWidth, s.clientHeight, e.querySelectorAll('path').length] : [0, 0, 0] })"
    )
    assert len(sizes) >= 8
    assert all(width > 300 and height > 80 and paths for width, height, paths in sizes)
    assert wide.said == []
    assert wide.asked == wide.got == [address]


def test_hostile_names_are_shown_and_do_nothing(wide):
    assert TARGET in wide.inner_text("h1")
    assert "{{7*7}}" in wide.inner_text("main")
    assert wide.evaluate(
        "[document.images.length, document.scripts.length, document.querySelectorAll('b').length]"
    ) == [0, 3, 0]
    assert wide.dialogs == []


def test_a_script_that_is_slipped_in_does_not_run_and_nothing_can_be_sent(browser, address):
    page = open_page(browser, address)
    page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.hit = 1'; document.body.append(s) }"
    )
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hit = 1\">')")
    assert page.evaluate("fetch('https://example.org/').then(() => 'sent', () => 'held')") == "held"
    assert page.evaluate("window.hit") is None
    assert page.got == [address]


@pytest.mark.parametrize("window", ["wide", "phone"])
def test_a_page_is_as_wide_as_its_window(window, request):
    page = request.getfixturevalue(window)
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    rights = page.evaluate(
        "[...document.querySelectorAll('svg.main-svg')].map((e) => e.getBoundingClientRect().right)"
    )
    assert max(rights) <= width


@pytest.mark.parametrize("window", ["wide", "phone"])
def test_text_can_be_read_in_light_and_dark(window, request):
    found = request.getfixturevalue(window).evaluate(CONTRAST)
    assert any(item["inFigure"] for item in found)
    assert [item for item in found if item["ratio"] < 4.5] == []


def test_a_finger_over_a_figure_scrolls_and_a_mouse_enlarges(phone, wide):
    modes = "[...new Set([...document.querySelectorAll('.plot')].map((e) => e._fullLayout.dragmode))]"
    assert "zoom" in wide.evaluate(modes)
    assert phone.evaluate(modes) == [False]
    middle = phone.evaluate(
        "() => { const box = [...document.querySelectorAll('.plot')].find((e) => e._fullLayout.xaxis.rangeslider).getBoundingClientRect();"
        "scrollTo(0, box.top - 200); return [box.left + box.width / 2, 300]; }"
    )
    before = phone.evaluate("scrollY")
    touch = phone.context.new_cdp_session(phone)
    for kind, points in [
        ("touchStart", [0]),
        *(("touchMove", [10 * n]) for n in range(1, 12)),
        ("touchEnd", []),
    ]:
        touch.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [{"x": middle[0], "y": middle[1] - up} for up in points]},
        )
    phone.wait_for_function(f"scrollY > {before + 50}", timeout=5000)
    phone.evaluate("scrollTo(0, 0)")


def test_figures_follow_a_change_to_dark_and_back(wide):
    ink = "getComputedStyle(document.querySelector('.plot svg text')).fill"
    light = wide.evaluate(ink)
    wide.emulate_media(color_scheme="dark")
    wide.wait_for_timeout(200)
    assert wide.evaluate(ink) != light
    wide.emulate_media(color_scheme="light")
    wide.wait_for_timeout(200)
    assert wide.evaluate(ink) == light


def test_it_has_the_order_and_the_names_that_a_screen_reader_needs(wide):
    levels = wide.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map((e) => +e.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    assert wide.evaluate("document.documentElement.lang") == "en"
    assert wide.evaluate(
        "['header', 'nav', 'main', 'footer'].every((n) => document.querySelectorAll(n).length === 1)"
    )
    assert wide.evaluate(
        "[...document.querySelectorAll('.plot')].every((e) => e.role === 'img' && e.ariaLabel.length > 30)"
    )
    assert wide.evaluate(
        "[...document.querySelectorAll('table')].every((e) => e.caption && [...e.querySelectorAll('th')].every((h) => h.scope))"
    )
    ids = wide.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert all(
        wide.evaluate(
            "[...document.querySelectorAll('nav a')].map((a) => document.querySelector(a.hash) !== null)"
        )
    )
    assert len(ids) == len(set(ids))


def test_the_keyboard_reaches_the_answer_first(beside):
    beside.keyboard.press("Tab")
    assert beside.evaluate("document.activeElement.textContent") == "Skip to the answer"
    assert beside.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    beside.keyboard.press("Enter")
    assert beside.evaluate("document.activeElement.id") == "content"


def test_the_keyboard_unfolds_and_folds(wide):
    wide.focus("summary")
    for shown in (True, False):
        wide.keyboard.press("Enter")
        assert wide.evaluate("document.querySelector('details').open") == shown


def test_paper_gets_everything_unfolded_and_uncut(phone):
    phone.evaluate(
        "addEventListener('beforeprint', () => { window.printed = [document.querySelectorAll('details:not([open])').length,"
        "Math.max(...[...document.querySelectorAll('svg.main-svg')].map((e) => +e.getAttribute('width')))] })"
    )
    phone.pdf(format="A4")
    folded, widest = phone.evaluate("window.printed")
    assert folded == 0
    assert widest <= 680  # pixels between the margins of A4
    assert phone.evaluate("document.querySelectorAll('details[open]').length") == 0


def test_without_scripts_texts_and_tables_are_there(browser, address):
    page = open_page(browser, address, java_script_enabled=False)
    assert "need JavaScript" in page.inner_text("noscript")
    assert page.locator("table").count() >= 4
    assert "sealed test rows" in page.inner_text("main")


def test_a_comparison_is_drawn_too(beside):
    assert beside.locator(".js-plotly-plot").count() == beside.locator(".plot").count() == 2
    assert beside.said == []
    assert beside.dialogs == []
