"""A real browser: Debian's Chromium without a window, driven by selenium, in the network of one of a lab's machines."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pyroute2 import netns
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

T = TypeVar("T")

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # it refuses to run as root with it
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--window-size=900,500",
)


def why_no_browser() -> str:
    """Why there is none; "" if there is."""
    missing = [program for program in ("chromium", "chromedriver") if shutil.which(program) is None]
    return f"no {' and no '.join(missing)} here: apt-get install chromium chromium-driver" if missing else ""


class Browser:
    """One browser. All its calls are made by one thread, which lives in the other network."""

    def __init__(self, thread: ThreadPoolExecutor, driver: webdriver.Chrome) -> None:
        self._thread = thread
        self._driver = driver

    def open(self, url: str) -> None:
        """Go to a page."""
        self._do(lambda driver: driver.get(url))

    def open_beside(self, url: str) -> None:
        """Go to a page in a new tab; what is asked next is asked of it."""
        self._do(lambda driver: driver.switch_to.new_window("tab"))
        self.open(url)

    def turn_to(self, tab: int) -> None:
        """Look at a tab, counted from 0."""
        self._do(lambda driver: driver.switch_to.window(driver.window_handles[tab]))

    def click(self, what: str) -> None:
        """Click on what a CSS selector finds; the page that this leads to is there afterwards."""
        self._do(lambda driver: driver.find_element(By.CSS_SELECTOR, what).click())

    def text(self, what: str) -> str:
        """What is read there."""
        return self._do(lambda driver: str(driver.find_element(By.CSS_SELECTOR, what).text))

    def wait(self, what: str, text: Callable[[str], bool], patience: float = 30.0) -> str:
        """Until what is read there is as wanted; the page is not loaded again. Raises TimeoutException."""

        def read(driver: webdriver.Chrome) -> str:
            found: str = driver.find_element(By.CSS_SELECTOR, what).text
            return found if text(found) else ""

        ignored = (StaleElementReferenceException,)
        return self._do(
            lambda driver: WebDriverWait(driver, patience, 0.1, ignored).until(read, f"{what} does not become that")
        )

    def picture(self, file: Path) -> None:
        """Save what the page has as PNG."""
        self._do(lambda driver: driver.find_element(By.CSS_SELECTOR, "body").screenshot(str(file)))

    def _do(self, work: Callable[[webdriver.Chrome], T]) -> T:
        return self._thread.submit(work, self._driver).result(120)


@contextmanager
def browser_at(pid: int, folder: Path) -> Iterator[Browser]:
    """A browser in the network namespace of a process; its profile is in `folder`."""
    with ThreadPoolExecutor(1, initializer=netns.setns, initargs=(f"/proc/{pid}/ns/net",)) as thread:
        driver = thread.submit(_start, folder).result(90)
        try:
            yield Browser(thread, driver)
        finally:
            thread.submit(driver.quit).result(30)


def _start(folder: Path) -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_page_load_timeout(20)
    return driver
