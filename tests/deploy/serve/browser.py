"""Chromium without a window, where it is installed."""

import functools
import shutil
import time

import pytest

SWITCHES = """
    headless=new no-sandbox disable-gpu disable-quic no-first-run disable-background-networking
    disable-component-update disable-sync disable-dev-shm-usage hide-scrollbars
    autoplay-policy=no-user-gesture-required
    use-fake-device-for-media-stream use-fake-ui-for-media-stream
"""
FLAGS = [f"--{switch}" for switch in SWITCHES.split()]


def program(*names):
    """The first of these programs that is installed."""
    return next(filter(None, map(shutil.which, names)), None)


def open_browser(profile):
    """A driver of a fresh Chromium. Skips the test where there is none."""
    selenium = pytest.importorskip("selenium.webdriver")
    chromium = program("chromium", "chromium-browser", "google-chrome")
    driver = program("chromedriver", "chromium.chromedriver")
    if not chromium or not driver:
        pytest.skip("Chromium and its driver are not installed (chromium, chromium-driver)")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return selenium.Chrome(options=options, service=selenium.ChromeService(driver))


class Page:
    """The page in a browser.

    Args:
        driver: of the browser.
        client: of the server.
    """

    def __init__(self, driver, client):
        self.driver, self.client = driver, client

    def open(self, *, size=(1280, 900), scheme="light", secret=""):
        """Load it in a window of that size, on a computer set to light or dark."""
        command = functools.partial(self.driver.execute_cdp_cmd)
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        command("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        command("Emulation.setEmulatedMedia", {"features": features})
        self.driver.get("about:blank")
        self.problems()  # of pages before
        self.driver.get(f"http://{self.client.host}/{secret}")
        self.wait("return document.body.dataset.ready || !document.getElementById('notice').hidden")

    def run(self, script):
        return self.driver.execute_script(script)

    def wait(self, script, seconds=20):
        """Until ``script`` gives something; that."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := self.run(script):
                return found
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s: {script}; notice: {self.text('notice')!r}")

    def text(self, name):
        return self.run(f"return document.getElementById({name!r}).textContent.trim()")

    def click(self, name):
        self.run(f"document.getElementById({name!r}).click()")

    def choose(self, path):
        """As the file dialogue does."""
        self.driver.find_element("id", "file").send_keys(str(path))

    def drop(self, path):
        """As if a file were dropped on the page."""
        self.driver.execute_script(
            "const input = document.createElement('input'); input.type = 'file';"
            "input.id = 'dropped'; document.body.append(input);"
        )
        self.driver.find_element("id", "dropped").send_keys(str(path))
        self.run(
            "const input = document.getElementById('dropped'), data = new DataTransfer();"
            "data.items.add(input.files[0]); input.remove();"
            "for (const type of ['dragenter', 'dragover', 'drop']) document.body.dispatchEvent("
            "new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true}));"
        )

    def problems(self):
        """What the browser complained about since the last call."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] in ("SEVERE", "WARNING")
        ]

    def is_too_wide(self):
        return self.run("return document.documentElement.scrollWidth > innerWidth")
