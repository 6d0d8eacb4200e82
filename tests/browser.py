"""Headless Chromium for tests of pages; tests that need it are skipped where it is missing.

from tests.browser import browser  # noqa: F401  (a fixture)

def test_page(browser, tmp_path):
    look = browser(width=390, dark=True)
    look.open(page)
"""

import shutil
from pathlib import Path

import pytest

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


class Look:
    """A browser window."""

    def __init__(self, driver):
        self.driver = driver

    def size(self, width, height=900):
        """Make the page so wide; the window's own limits do not count."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        return self

    def scheme(self, name):
        """``"light"`` or ``"dark"``, as a system prefers it."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        return self

    def open(self, page):
        """Show a file or an address."""
        self.driver.get(page if "://" in str(page) else Path(page).resolve().as_uri())
        return self

    def run(self, script, *arguments):
        """What JavaScript returns."""
        return self.driver.execute_script(script, *arguments)

    def errors(self):
        """What the console complained about since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")
                if entry["level"] in {"SEVERE", "WARNING"}]  # fmt: skip

    def requests(self):
        """Addresses of everything the page loaded beside itself."""
        return self.run("return performance.getEntriesByType('resource').map(e => e.name)")

    def overflow(self):
        """Pixels by which the page is wider than the window."""
        return self.run("const d = document.documentElement; return d.scrollWidth - d.clientWidth")

    def screenshot(self, path):
        """The whole page as a PNG file."""
        import base64

        whole = {"captureBeyondViewport": True, "format": "png"}
        data = self.driver.execute_cdp_cmd("Page.captureScreenshot", whole)["data"]
        Path(path).write_bytes(base64.b64decode(data))


def start(profile):
    """A window with a profile of its own, or the reason why there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="pip install selenium")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    return webdriver.Chrome(options=options, service=service)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A :class:`Look` for the tests of a file."""
    driver = start(tmp_path_factory.mktemp("profile"))
    yield Look(driver)
    driver.quit()
