"""Programs that drive a browser, by the names that fingerprints give them."""

from __future__ import annotations

from typing import Final

AUTOMATION: Final = (
    "puppeteer",
    "playwright",
    "selenium",
    "phantomjs",
    "headless_chrome",
    "headless_firefox",
    "nightmare",
    "cypress",
    "webdriverio",
    "undetected_chromedriver",
)
