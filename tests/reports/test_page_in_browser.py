"""The page as people see it: in Chromium, wide and narrow, light and dark."""

import time

import pytest

from slowfast.reports.page.write import write_page
from tests.browser import browser  # noqa: F401
from tests.reports.run_folders import write_set


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    root = tmp_path_factory.mktemp("page")
    names = {"teacher": "teacher", "compressed": "prune"}
    return write_page({"set": write_set(root / "runs")}, root / "report.html", **names)[0]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_page_fits_and_loads_quietly(browser, page, width, scheme):  # noqa: F811
    look = browser.size(width).scheme(scheme).open(page)
    assert look.errors() == []
    assert look.requests() == []
    assert look.overflow() <= 0
    assert look.run("return document.querySelectorAll('svg.chart').length") == 7
    background = look.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) > 384) == (scheme == "light")
    shown = """return [...document.querySelectorAll('figure')].every(f => {
        const drawn = [...f.querySelectorAll('svg.chart, canvas')].filter(e => e.clientWidth);
        return drawn.length === 1 && drawn[0].getBoundingClientRect().height > 150;
    })"""
    assert look.run(shown)
    smallest = """return Math.min(...[...document.querySelectorAll('svg.chart text')]
        .filter(t => t.getBoundingClientRect().width)
        .map(t => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a))"""
    upright = smallest.replace("svg.chart text", "svg.chart text.tick")
    assert look.run(upright) >= 9


@pytest.mark.slow
def test_page_answers_to_the_pointer(browser, page):  # noqa: F811
    look = browser.size(1280).scheme("light").open(page)
    tip = "const t = document.getElementById('tip'); return t.hidden ? '' : t.innerText"
    scroll = """document.querySelector(arguments[0])
        .scrollIntoView({block: 'center', behavior: 'instant'})"""
    point = """const e = document.querySelector(arguments[0]), b = e.getBoundingClientRect();
        e.dispatchEvent(new PointerEvent('pointermove', {bubbles: true,
        clientX: b.x + b.width * .3, clientY: b.y + b.height * .1}))"""
    for place, words in (("#fronts .wide-only .dot", "OpenVINO: p50"), ("canvas", "of 3 videos")):
        look.run(scroll, place)
        time.sleep(0.2)  # scrolling hides what was said
        look.run(point, place)
        assert words in look.run(tip)
    ink = "return document.querySelector('canvas').toDataURL()"
    before = look.run(ink)
    look.run("document.querySelector('.confusion .bar button').click()")
    look.run("document.querySelector('.theme').click()")
    assert look.run("return document.documentElement.dataset.theme") == "dark"
    assert look.run(ink) != before
    first = "return document.querySelector('#networks tbody td').innerText"
    for name in ("prune", "teacher"):  # upwards, then downwards
        look.run("document.querySelector('#networks th button').click()")
        assert look.run(first).startswith(name)
    assert look.errors() == []
