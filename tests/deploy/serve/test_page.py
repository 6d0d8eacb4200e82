"""The page in headless Chromium."""

import pytest

from tests.deploy.serve.browser import Page, open_browser
from tests.deploy.serve.serving import running
from tests.videos import write_video

SPANS = "return document.querySelectorAll('.span').length"
BARS = "return [...document.querySelectorAll('#scores .value')].map((x) => x.textContent)"
SIZES = {"wide": (1280, 900), "narrow": (390, 844)}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(recognizer):
    with running(recognizer, upload_bytes=2**20, video_s=10.0) as client:
        yield client


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    driver = open_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def page(driver, server):
    found = Page(driver, server)
    yield found
    driver.get("about:blank")  # ends what still runs
    assert server.wait_free()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clips") / "a.mp4", num_frames=60, size=(320, 240))


def check(page):
    assert page.problems() == []
    assert page.run("return document.getElementById('notice').hidden")
    assert not page.is_too_wide()


def test_a_dropped_video_is_recognised_while_it_plays(page, clip, recognizer):
    page.open()
    page.drop(clip)
    page.wait("return document.getElementById('video').ended")
    page.wait(SPANS)
    assert page.text("caption-name") in recognizer.class_names["action"]
    assert len(page.run(BARS)) == 2
    assert float(page.text("m-latency")) > 0
    assert float(page.text("m-fps")) > 0
    ends = "return [...document.querySelectorAll('.span')].map((x) => x.span.end)"
    assert max(page.run(ends)) == pytest.approx(2.0, abs=0.3)
    page.run("document.querySelector('.span').focus()")
    assert page.text("tip").count("%") == 2
    check(page)


def test_a_whole_file_is_analysed(page, clip):
    page.open()
    page.choose(clip)
    page.wait("return !document.getElementById('analyse').hidden")
    page.click("analyse")
    page.wait(
        "return document.getElementById('progress').hidden && document.querySelector('.span')"
    )
    _, found = page.client.send(clip)
    shown = page.run(
        "return [...document.querySelectorAll('.span')].map("
        "({span}) => [span.start, span.end, span.name])"
    )
    segments = found["segments"]["action"]
    assert shown == [[s["start_s"], s["end_s"], s["name"]] for s in segments]
    check(page)


def test_a_video_the_browser_cannot_play_is_sent(page, tmp_path):
    path = write_video(tmp_path / "a.avi", num_frames=30, codec="mpeg4")
    page.open()
    page.choose(path)
    page.wait(
        "return document.getElementById('progress').hidden && document.querySelector('.span')"
    )
    assert page.run("return document.getElementById('notice').hidden")


def test_the_webcam_is_recognised_live(page):
    page.open(size=SIZES["narrow"], scheme="dark")
    page.click("webcam")
    page.wait(SPANS)
    page.wait("return parseFloat(document.getElementById('m-latency').textContent) > 0")
    assert page.text("status-text") == "Live"
    assert page.client.service.used == 1
    check(page)
    page.click("webcam")
    page.wait("return document.getElementById('stage').dataset.state === 'empty'")
    assert page.client.wait_free()
    check(page)


def test_errors_are_shown(page, tmp_path, recognizer):
    page.open()
    text = tmp_path / "notes.mp4"
    text.write_text("no video" * 100)
    page.choose(text)
    page.wait("return !document.getElementById('notice').hidden")
    assert "no video" in page.text("notice")
    assert "Send an MP4" in page.text("notice")
    page.click("notice-close")
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(2**20 + 1))
    page.choose(large)
    page.wait("return !document.getElementById('notice').hidden")
    assert "larger than 1 MB" in page.text("notice")
    with running(recognizer, token="secret") as guarded:
        other = Page(page.driver, guarded)
        other.open()
        assert "token" in other.text("notice")
        other.open(secret="#token=secret")
        other.click("webcam")
        other.wait(SPANS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_fits_and_looks(page, clip, tmp_path, scheme, size):
    page.open(size=SIZES[size], scheme=scheme)
    assert not page.is_too_wide()
    picture = tmp_path / f"{size}_{scheme}_empty.png"
    page.driver.save_screenshot(str(picture))
    page.choose(clip)
    page.wait("return document.getElementById('video').ended")
    page.wait(SPANS)
    page.driver.save_screenshot(str(picture.with_name(picture.name.replace("empty", "played"))))
    check(page)
    back = page.run("return getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(13, 16, 22)") == (scheme == "dark")


def test_keys_alone_are_enough(page, clip):
    page.open()
    page.choose(clip)
    page.wait("return document.getElementById('video').ended")
    page.wait(SPANS)
    found = page.run(
        "const all = [...document.querySelectorAll('button, video, a')].filter("
        "(x) => x.checkVisibility() && x.tabIndex >= 0).map((x) => x.id || x.className);"
        "return all"
    )
    assert {"choose", "webcam", "analyse", "span", "download"} <= set(found)
    assert found.count("span") == 1  # arrow keys go on from there
