"""The page of a text run in a browser: nothing acts, nothing is wider than the window, everybody can read it."""

import pytest

from heldout.report.run_report import write_report
from tests.report.pages import CONTRAST, open_page


@pytest.fixture(scope="module")
def wide(browser, two):
    return open_page(browser, write_report(two).as_uri())


@pytest.fixture(scope="module")
def phone(browser, twenty):
    return open_page(browser, write_report(twenty).as_uri(), width=390, color_scheme="dark", has_touch=True)


@pytest.mark.parametrize("window", ["wide", "phone"])
def test_figures_are_drawn_and_texts_do_nothing(window, request):
    page = request.getfixturevalue(window)
    assert page.locator(".js-plotly-plot").count() == page.locator(".plot").count() == 5
    assert page.evaluate("[document.images.length, document.scripts.length]") == [0, 3]
    assert page.said == page.dialogs == []
    assert len(page.asked) == 1
    assert "</script><script>alert(1)</script>" in page.inner_text("#errors")


@pytest.mark.parametrize("window", ["wide", "phone"])
def test_the_page_is_as_wide_as_its_window_with_all_unfolded(window, request):
    page = request.getfixturevalue(window)
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    inside = "[...document.querySelectorAll('.example, .example p, figure')].map((e) => e.getBoundingClientRect().right)"
    assert max(page.evaluate(inside)) <= width


def test_the_table_of_splits_fits_a_phone(phone):
    table = phone.locator(".scroll[aria-label^='Splits']")
    table.evaluate("(e) => { for (let up = e; up; up = up.parentElement) if ('open' in up) up.open = true; }")
    client, needed = table.evaluate("(e) => [e.clientWidth, e.scrollWidth]")
    assert 0 < needed <= client


@pytest.mark.parametrize("window", ["wide", "phone"])
def test_shaded_words_and_cells_can_be_read_in_light_and_dark(window, request):
    page = request.getfixturevalue(window)
    assert page.locator("mark").count() > 20
    assert [item for item in page.evaluate(CONTRAST) if item["ratio"] < 4.5] == []


def test_signs_are_told_by_the_line_and_not_by_colour_alone(wide):
    styles = "(kind) => getComputedStyle(document.querySelector(`mark[class^=${kind}]`)).textDecorationStyle"
    assert [wide.evaluate(styles, kind) for kind in ("for", "against", "made")] == ["solid", "wavy", "dotted"]


def test_the_confusion_matrix_is_a_table_with_names_on_both_sides(phone):
    found = phone.evaluate(
        "() => { const t = document.querySelector('.matrix'); return [t.caption !== null, [...t.querySelectorAll('th')].every((h) => h.scope),"
        "t.querySelectorAll('thead th[scope=col]').length, t.querySelectorAll('tbody th[scope=row]').length] }"
    )
    assert found == [True, True, 22, 20]


def test_a_matrix_of_twenty_classes_fits_a_wide_window(browser, twenty):
    page = open_page(browser, write_report(twenty).as_uri(), java_script_enabled=False)
    box, matrix = (page.locator(name).bounding_box() for name in (".scroll:has(.matrix)", ".matrix"))
    assert matrix["width"] <= box["width"]
