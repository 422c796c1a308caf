"""The artwork studio in a browser: what a curator does, by mouse and by keyboard."""

from __future__ import annotations

import shutil

import numpy as np
import PIL.Image
import pytest
from playwright.sync_api import sync_playwright

from vivant.artwork import load_artwork
from vivant_samples import ARTWORKS

from .browser import CHROMIUM, WAIT_MS, chromium
from .conftest import until
from .service_process import ServiceProcess

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium; run make .venv/.browser")

TOKEN = "an-admin-token-of-tests"
HARBOUR = ARTWORKS / "night-harbour"


@pytest.fixture(scope="module")
def service(tmp_path_factory, store):
    folder = tmp_path_factory.mktemp("studio")
    shutil.copytree(ARTWORKS / "spring-garden", folder / "artworks" / "spring-garden")
    settings = {"artworks": str(folder / "artworks"), "admin_token": TOKEN}
    with ServiceProcess(folder, store.root, **settings) as process:
        yield process.until_ready()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright, chromium(playwright) as opened:
        yield opened


@pytest.fixture
def page(browser, service):
    """The studio's page before the token; whatever the browser complains about fails the test."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(WAIT_MS)
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    page.goto(f"{service.url}/studio/")
    yield page
    page.close()
    # An answer of 401 or 422 is shown to the curator, and logged by the browser too.
    assert [each for each in complaints if "Failed to load resource" not in each] == []


@pytest.fixture
def garden(page, service):
    """The page with the sample garden in the editor."""
    home = service.folder / "artworks" / "spring-garden"
    shutil.copyfile(ARTWORKS / "spring-garden" / "artwork.toml", home / "artwork.toml")
    enter(page)
    page.get_by_role("button", name="Spring Garden").click()
    page.locator(".box").first.wait_for()
    return page


def enter(page, token=TOKEN):
    page.get_by_label("Admin token").fill(token)
    page.get_by_role("button", name="Enter").click()


def choose(page, button, file):
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=button).click()
    chooser.value.set_files(file)


def drag(page, x1, y1, x2, y2):
    """Drag from one point of the picture to another, in shares of it."""
    box = page.locator("#canvas").bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"])
              for x, y in ((x1, y1), ((x1 + x2) / 2, (y1 + y2) / 2), (x2, y2))]  # fmt: skip
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point)
    page.mouse.up()


def box_of(page):
    """Return the selected slot's box as the panel tells it, in shares."""
    names = ("x", "y", "width", "height")
    return [float(page.get_by_label(f"Box {name}").input_value()) / 100 for name in names]


SHRUNK = """(image) => image.decode().then(() => {
  const canvas = new OffscreenCanvas(192, 128).getContext("2d");
  canvas.drawImage(image, 0, 0, 192, 128);
  return [...canvas.getImageData(0, 0, 192, 128).data];
})"""


def difference(image, picture):
    """Return which pixels of an image of the page are not the picture's, bool [128,192]."""
    pixels = np.reshape(image.evaluate(SHRUNK), (128, 192, 4))[..., :3]
    with PIL.Image.open(picture) as original:
        plain = np.asarray(original.convert("RGB").resize((192, 128)), int)
    return np.abs(pixels - plain).max(axis=2) > 60


def shown(page, text):
    return page.locator("#editor-state").filter(has_text=text).wait_for()


def test_the_token_opens_the_studio_and_another_does_not(page):
    enter(page, "not-the-token")
    page.get_by_text("This is not the admin token.").wait_for()
    enter(page)
    page.get_by_role("button", name="Spring Garden").wait_for()
    assert page.locator(".card img").first.evaluate("image => image.decode().then(() => true)")
    page.reload()  # this tab keeps it
    page.get_by_role("button", name="Spring Garden").wait_for()
    assert page.get_by_label("Admin token").is_hidden()


def test_an_artwork_is_added_by_mouse_tried_and_saved(page, service):
    enter(page)
    choose(page, "Add an artwork…", HARBOUR / "painting.webp")
    page.get_by_text("Draw a box over the picture").wait_for()
    drag(page, 0.07, 0.23, 0.43, 0.86)
    page.get_by_role("checkbox", name="half-body").check()
    page.get_by_role("checkbox", name="full-body").uncheck()
    page.get_by_text("would float here").wait_for()
    page.get_by_role("textbox", name="Name").fill("by-the-table")
    page.get_by_label("Fit to the box").uncheck()
    page.get_by_label("Head height, %").fill("15.5")
    choose(page, "Add…", HARBOUR / "table.webp")
    page.get_by_label("In front of the visitor").filter(has_text="table").wait_for()
    assert page.get_by_text("would float here").count() == 0
    assert page.locator(".occluder").is_visible()
    assert page.locator("#canvas svg text").text_content() == "15.5 %"
    page.get_by_role("tab", name="Artwork").click()
    page.get_by_label("Title").fill("The Harbour")
    page.get_by_label("Year").fill("2026")
    page.get_by_role("textbox", name="Id", exact=True).fill("The Harbour!")

    page.get_by_role("button", name="Try it").click()
    page.get_by_text("Stands in by-the-table").wait_for()
    changed = difference(page.locator(".result img"), HARBOUR / "painting.webp")
    assert changed[60:110, 15:80].mean() > 0.2  # where the slot is
    assert changed[:, 100:].mean() < 0.01
    assert service.client.get("/v1/artworks/the-harbour").status_code == 404

    page.get_by_role("button", name="Save").click()
    shown(page, "Saved")
    served = service.client.get("/v1/artworks/the-harbour").json()
    assert (served["title"], served["year"]) == ("The Harbour", 2026)
    assert [slot["name"] for slot in served["slots"]] == ["by-the-table"]
    artwork = load_artwork(service.folder / "artworks" / "the-harbour")
    slot = artwork.slots[0]
    assert slot.box == pytest.approx((0.07, 0.23, 0.36, 0.63), abs=0.004)
    assert slot.head_height == 0.155
    assert artwork.image.read_bytes() == (HARBOUR / "painting.webp").read_bytes()
    assert slot.occluder.read_bytes() == (HARBOUR / "table.webp").read_bytes()

    page.get_by_role("button", name="Delete this artwork…").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Spring Garden").wait_for()
    assert service.client.get("/v1/artworks/the-harbour").status_code == 404


def test_a_slot_is_moved_and_resized_and_that_can_be_undone(garden, service):
    garden.get_by_role("button", name="on-the-path", exact=True).click()
    start = box_of(garden)
    drag(garden, 0.7, 0.6, 0.6, 0.5)
    moved = box_of(garden)
    assert moved == pytest.approx([start[0] - 0.1, start[1] - 0.1, *start[2:]], abs=0.004)
    garden.keyboard.press("ArrowRight")
    garden.keyboard.press("Shift+ArrowDown")
    assert box_of(garden) == pytest.approx([moved[0] + 0.001, moved[1] + 0.01, *start[2:]])
    x, y, width, height = box_of(garden)
    drag(garden, x + width, y + height, 0.995, 0.996)  # snaps to the picture's corner
    assert box_of(garden) == pytest.approx([x, y, 1 - x, 1 - y])
    for _ in range(4):
        garden.get_by_role("button", name="Undo").click()
    assert box_of(garden) == start
    shown(garden, "Saved")


def test_every_slot_can_be_drawn_picked_duplicated_and_deleted(garden):
    items = garden.locator(".item")
    count = items.count()
    garden.get_by_role("button", name="Draw a slot").click()  # even where slots are already
    drag(garden, 0.6, 0.5, 0.7, 0.7)
    assert items.count() == count + 1
    assert box_of(garden) == pytest.approx([0.6, 0.5, 0.1, 0.2], abs=0.004)
    drag(garden, 0.2, 0.05, 0.4, 0.25)  # and where none is, without the button
    assert items.count() == count + 2
    garden.get_by_role("button", name="Duplicate").click()
    assert items.last.text_content() == "place-3"
    garden.locator(".box.selected").press("Delete")
    garden.get_by_role("button", name="Delete slot").click()
    assert items.count() == count + 1
    garden.mouse.click(*center(garden.locator(".box .name", has_text="together-close")))
    assert garden.get_by_role("textbox", name="Name").input_value() == "together-close"


def center(locator):
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_what_is_wrong_is_told_at_its_field_and_nothing_is_saved(garden, service):
    file = service.folder / "artworks" / "spring-garden" / "artwork.toml"
    before = file.read_bytes()
    garden.get_by_role("textbox", name="Name").fill("on-the-path")
    garden.get_by_role("tab", name="Artwork").click()
    garden.keyboard.press("Control+s")
    wrong = garden.locator(".field.wrong")
    wrong.wait_for()
    assert (
        garden.get_by_role("textbox", name="Name").input_value() == "on-the-path"
    )  # its tab is turned to
    assert "is that of slot[1]; choose another" in wrong.text_content()
    assert file.read_bytes() == before
    garden.get_by_role("textbox", name="Name").fill("elsewhere")
    garden.get_by_role("button", name="Save").click()
    shown(garden, "Saved")
    assert garden.locator(".field.wrong").count() == 0
    assert load_artwork(file).slots[1].name == "elsewhere"
    service.client.get("/v1/artworks/spring-garden").raise_for_status()


def test_changes_are_not_left_behind_without_a_question(garden):
    garden.get_by_role("textbox", name="Name").fill("another-name")
    garden.get_by_role("button", name="← Artworks").click()
    garden.get_by_role("button", name="Cancel").click()
    assert garden.get_by_role("textbox", name="Name").input_value() == "another-name"
    asked = []
    garden.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    garden.evaluate("setTimeout(() => location.reload())")
    until(lambda: garden.wait_for_timeout(50) or asked)
    assert asked == ["beforeunload"]
    garden.get_by_role("button", name="← Artworks").click()
    garden.get_by_role("button", name="Leave").click()
    garden.get_by_role("heading", name="Artworks").wait_for()


def test_a_picture_that_cannot_be_used_is_refused_with_the_reason(garden, tmp_path):
    small = tmp_path / "small.png"
    PIL.Image.new("RGBA", (40, 30)).save(small)
    choose(garden, "Add…", small)
    garden.get_by_text("small.png is 40").wait_for()
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    choose(garden, "Add…", broken)
    garden.get_by_text("This is no picture that can be shown").wait_for()
    shown(garden, "Saved")
