"""A real Chromium before the page: with a camera that shows the sample portrait, and a ruler."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

import vivant_samples
from vivant.images import encode_image, load_image

CHROMIUM = shutil.which("chromium")

SCREENS = os.environ.get("VIVANT_SCREENS")
"""A folder that takes a picture of every screen; ``make screens`` sets it."""

PORTRAIT, LANDSCAPE = (1080, 1920), (1920, 1080)
BOTH = pytest.mark.parametrize("size", [PORTRAIT, LANDSCAPE], ids=["portrait", "landscape"])
EITHER = BOTH if SCREENS else pytest.mark.parametrize("size", [PORTRAIT], ids=["portrait"])
"""Of a screen that differs little; its pictures are taken in both."""

WAIT_MS = 60_000
"""That something has to happen in; nothing is timed."""

_BETWEEN_TOUCHES_MS = 450  # sooner, the page takes it for a finger that bounced

_ALONE = (
    "--no-sandbox",  # which root cannot have
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# What is seen for a moment only: screens, and what the page says of the picture's progress.
_DIARY = """
window.diary = [];
new MutationObserver((changes) => {
  for (const { target, attributeName } of changes) {
    const seen = attributeName === "data-screen" ? target.dataset.screen
      : target.id === "step" ? target.dataset.text : undefined;
    if (seen && seen !== diary.at(-1)) diary.push(seen);
  }
}).observe(document, { subtree: true, attributeFilter: ["data-screen", "data-text"] });
"""

# What a person would see at once: words cut off, things on top of each other, small buttons.
_RULER = """
() => {
  const faults = [];
  const shown = (element) => element.checkVisibility({ visibilityProperty: true })
    && !element.closest("[inert]");
  const all = (selector) => [...document.querySelectorAll(selector)].filter(shown);
  const name = (element) => element.id || element.textContent.trim().slice(0, 40);
  const dialog = document.querySelector("dialog[open]");
  const inScope = (element) => !dialog || dialog.contains(element);
  for (const element of all("button, h1, h2, p, span, strong, li").filter(inScope)) {
    const box = element.getBoundingClientRect();
    if (!box.width || getComputedStyle(element).display === "inline") continue;
    if (element.scrollWidth > element.clientWidth + 1) faults.push(`cut: ${name(element)}`);
    const scrolls = element.closest("#gallery, .scrolling");
    if (box.left < -1 || box.right > innerWidth + 1
      || (!scrolls && (box.top < -1 || box.bottom > innerHeight + 1))) {
      faults.push(`beyond the screen: ${name(element)}`);
    }
  }
  for (const button of all("button").filter(inScope)) {
    const { width, height } = button.getBoundingClientRect();
    if (width < 64 || height < 64) faults.push(`small: ${name(button)} ${width}x${height}`);
  }
  const apart = all("button, h1, .panel p, .wall")
    .filter((element) => inScope(element) && !element.closest("#gallery"))
    .filter((element) => element.textContent.trim() || element.className === "wall");
  for (const [index, one] of apart.entries()) {
    for (const other of apart.slice(index + 1)) {
      if (one.contains(other)) continue;
      const [a, b] = [one.getBoundingClientRect(), other.getBoundingClientRect()];
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 1 && down > 1) faults.push(`overlap: ${name(one)} and ${name(other)}`);
    }
  }
  if (document.documentElement.scrollWidth > innerWidth) faults.push("scrolls sideways");
  return faults;
}
"""


def write_camera(path: Path) -> Path:
    """Write what the camera shows: the sample portrait before a wall, 1280x720, as MJPEG."""
    portrait = load_image(vivant_samples.PORTRAIT)
    portrait = cv2.resize(portrait, (720, 720), interpolation=cv2.INTER_CUBIC)
    frame = np.full((720, 1280, 3), 168, np.uint8)
    frame[:, 280:1000] = portrait
    path.write_bytes(encode_image(frame, "jpeg") * 2)
    return path


@contextlib.contextmanager
def chromium(playwright, camera: Path | None = None):
    """Yield a browser; without a camera it has none."""
    fake = ["--use-fake-ui-for-media-stream"]
    if camera is not None:
        fake += [
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={camera}",
        ]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*_ALONE, *fake])
    try:
        yield browser
    finally:
        browser.close()


class Visitor:
    """Somebody before the kiosk: touches, looks, and sees when something looks wrong."""

    def __init__(self, browser, url, size=(1080, 1920), **options):
        self.size = size
        self._context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, has_touch=True, **options
        )
        self.page = self._context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.errors = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.add_init_script(_DIARY)
        self.page.goto(url)
        self.page.wait_for_selector("#languages button")  # the settings have arrived

    def close(self):
        self._context.close()

    def until_on(self, screen):
        self.page.wait_for_selector(f'body[data-screen="{screen}"]')

    def until(self, expression):
        """Wait for what the page's policy lets it not wait for by itself: that needs eval."""
        for _ in range(WAIT_MS // 50):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never came true: {expression}")

    def diary(self):
        """Return the screens, and the steps of pictures, in the order in which they were seen."""
        return self.page.evaluate("diary")

    def until_in(self, trouble):
        self.page.wait_for_selector(f'body[data-trouble="{trouble}"]')

    def touch(self, selector):
        self.page.wait_for_timeout(_BETWEEN_TOUCHES_MS)
        self.page.tap(selector)

    def text(self, selector):
        return self.page.inner_text(selector)

    def to_camera(self, artwork="night-harbour"):
        """Go from the first screen to the camera."""
        self.until_on("attract")
        self.touch("#start")
        self.until_on("choose")
        self.touch(f'.artwork[data-id="{artwork}"]')
        self.until_on("consent")
        self.touch("#agree")
        self.until_on("camera")
        self.page.wait_for_selector("#shoot:enabled")

    def to_result(self, artwork="night-harbour"):
        """Go all the way to a finished picture."""
        self.to_camera(artwork)
        self.touch("#shoot")
        self.until_on("result")

    def shown(self, selector):
        """Return the pixels of an element, uint8 [H,W,3] RGB, as they are on the screen."""
        return load_image(self.page.locator(selector).screenshot())

    def look(self, name, fade_ms=1000):
        """See that nothing on this screen is cut, too small, or on top of something else."""
        self.page.wait_for_timeout(fade_ms)
        if SCREENS:
            self._keep(name)
        assert self.page.evaluate(_RULER) == [], f"{name} at {self.size}"

    def _keep(self, name):
        kind = "portrait" if self.size[1] > self.size[0] else "landscape"
        folder = Path(SCREENS)
        folder.mkdir(parents=True, exist_ok=True)
        picture = PIL.Image.fromarray(load_image(self.page.screenshot()))
        picture.thumbnail((1280, 1280))
        picture.save(folder / f"{kind}-{name}.webp", quality=80)


def composition_of(page):
    """Note the address of every composition that the page makes."""
    made = []

    def note(response):
        if response.request.method == "POST" and response.url.endswith("/v1/compositions"):
            made.append(response.headers["location"])

    page.on("response", note)
    return made
