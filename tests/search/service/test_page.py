"""The page as a person uses it, in a headless Chromium: every step without an error on the console, and without a
request to any other host."""

import re
import shutil
import threading

import pytest
import uvicorn
from tests.search.service.conftest import FREE

from fastgoal.search.service.app import make_app
from fastgoal.search.service.server import address, bind
from fastgoal.search.service.settings import LOOPBACK_NAMES, ServiceSettings

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
QUERY = "A large red ball lies on the left side. 🎈 A blue box stands in the lower right corner."
PATIENCE = 60_000
"""Milliseconds; a busy machine takes its time."""
expect = sync_api.expect
expect.set_options(timeout=PATIENCE)


def serving(searcher, **settings):
    bound = bind("127.0.0.1", 0)
    app = make_app(searcher, ServiceSettings(uri="unused", hosts=LOOPBACK_NAMES, limits=FREE, **settings))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    yield address(bound)
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def url(searcher):
    yield from serving(searcher)


@pytest.fixture(scope="module")
def locked(searcher):
    yield from serving(searcher, token="secret-token")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, url):
    """A page of a fresh browser; whatever it complains of fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page, complaints, hosts = context.new_page(), [], set()
    page.set_default_timeout(PATIENCE)
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: hosts.add(re.sub(r"^blob:", "", request.url).split("/")[2]))
    page.complaints = complaints
    yield page
    context.close()
    assert complaints == []
    assert all(host.startswith("127.0.0.1:") for host in hosts)


def found(page):
    """Waits for the results, and returns their names."""
    page.wait_for_selector("#grid:not([aria-busy]) .card")
    return page.locator(".card .name").all_inner_texts()


def ask(page, text=QUERY):
    page.fill("#text", text)
    page.keyboard.press("Enter")
    expect(page).to_have_title(re.compile("–"))
    return found(page)


def test_from_the_welcome_to_a_result_and_back(page, url, searcher, tmp_path):
    page.goto(url)
    page.wait_for_selector("#strip img:not(.coming)")
    assert "30 images can be searched here" in page.inner_text("#welcome")
    page.screenshot(path=tmp_path / "welcome.png")

    expected = searcher.text(QUERY, top=24, sentences=True)
    assert ask(page) == [hit.id for hit in expected.hits]
    assert "1–24 of 30 images" in page.inner_text("#status")
    assert re.search(r"model .* ms, search .* ms · p50 .* ms, p95 .* ms", page.inner_text("#timing"))
    page.screenshot(path=tmp_path / "results.png")

    page.locator(".card").first.click()
    page.wait_for_selector("#caption-room:not([hidden])")
    hit = expected.hits[0]
    words = page.locator(".sentence .words").all_inner_texts()
    assert words == [QUERY[slice(*met.span)] for met in hit.sentences]
    shown = [text.replace("−", "-") for text in page.locator(".sentence .num").all_inner_texts()]
    assert shown == [f"{met.score:.3f}" for met in hit.sentences]

    page.locator(".sentence").nth(1).hover()
    outline = page.locator(".box.h1")
    x1, y1, x2, y2 = hit.sentences[1].box
    stage, box = page.locator("#stage").bounding_box(), outline.bounding_box()
    scale = stage["width"] / hit.width
    measured = [box["x"] - stage["x"], box["y"] - stage["y"], box["width"], box["height"]]
    assert measured == pytest.approx([scale * x1, scale * y1, scale * (x2 - x1), scale * (y2 - y1)], abs=1.5)

    page.click("#heat-switch")
    page.locator(".sentence").first.click()
    page.wait_for_selector("#heat:not([hidden])")
    assert page.inner_text("#heat-of") == "1"
    assert page.evaluate("document.getElementById('heat').getContext('2d').getImageData(450, 450, 1, 1).data[3]") > 100
    page.screenshot(path=tmp_path / "heat.png")
    page.keyboard.press("h")
    assert page.locator("#heat").is_hidden()

    page.keyboard.press("ArrowRight")
    assert page.inner_text("#view-name") == expected.hits[1].id
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Escape")
    assert page.locator("#view").is_hidden()
    assert f"Result 1: {hit.id}, score " in page.evaluate("document.activeElement.textContent")


def test_all_of_it_by_keys(page, url):
    page.goto(url)
    page.wait_for_selector("#welcome:not([hidden])")
    page.keyboard.press("/")
    page.keyboard.type("A red ball.")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("A blue box.")
    assert page.input_value("#text") == "A red ball.\nA blue box."
    page.keyboard.press("Enter")
    names = found(page)
    page.locator(".card").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    columns = page.evaluate("""() => { const all = [...document.querySelectorAll('.card')];
        return all.filter((card) => card.offsetTop === all[0].offsetTop).length }""")
    assert page.evaluate("document.activeElement.querySelector('.name').textContent") == names[columns]
    page.keyboard.press("Enter")
    assert page.inner_text("#view-name") == names[columns]
    page.keyboard.press("ArrowDown")
    assert page.locator(".sentence.on").count() == 1
    for _ in range(12):  # Tab stays inside
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('#view')")


def test_pages_filters_and_the_way_back(page, url, searcher, records):
    page.goto(url)
    first = ask(page)
    page.click("#after")
    expect(page.locator("#where")).to_have_text("Page 2 of 2")
    assert found(page) == [hit.id for hit in searcher.text(QUERY, top=24, skip=24).hits]
    page.go_back()
    expect(page.locator("#where")).to_have_text("Page 1 of 2")
    assert found(page) == first
    page.click("#filter-switch")
    page.fill("[name=id_contains]", "0001")
    page.keyboard.press("Enter")
    expect(page.locator("#filter-count")).to_have_text("1")
    admitted = {record.id for record in records if "0001" in record.id}
    expect(page.locator(".card")).to_have_count(len(admitted))
    assert set(found(page)) == admitted
    page.fill("[name=min_width]", "99999")
    page.keyboard.press("Enter")
    page.wait_for_selector("#nothing:not([hidden])")
    page.click("#unfilter")
    assert len(found(page)) == 24


def test_an_image_is_dropped_and_one_like_it_asked_for(page, url, scenes, records):
    page.goto(url)
    page.wait_for_selector("#welcome:not([hidden])")
    page.set_input_files("#file", scenes / records[4].image)
    assert found(page)[0] == records[4].id
    page.locator(".card").nth(1).click()
    name = page.inner_text("#view-name")
    page.wait_for_selector(".sentence")  # its caption is explained instead of a query
    page.click("#like")
    expect(page.locator("#picked-name")).to_have_text(f"Images like {name}")
    assert name not in found(page)


def test_what_goes_wrong_is_said_with_its_mend(page, url, tmp_path):
    page.goto(url)
    page.wait_for_selector("#welcome:not([hidden])")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    page.set_input_files("#file", broken)
    page.wait_for_selector("#problem:not([hidden])")
    assert "not an image" in page.inner_text("#problem").lower()
    assert "Send a JPEG" in page.inner_text("#problem")
    page.screenshot(path=tmp_path / "error.png")
    page.complaints.clear()  # the browser logs the refusal
    page.click("#unpick")
    page.wait_for_selector("#welcome:not([hidden])")


def test_a_phone_sees_all_of_it(browser, url, tmp_path):
    context = browser.new_context(viewport={"width": 375, "height": 812}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(url)
    ask(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    page.locator(".card").first.tap()
    page.wait_for_selector("#caption-room:not([hidden])")
    page.screenshot(path=tmp_path / "phone.png")
    view = page.locator("#view").bounding_box()
    assert (view["x"], view["width"]) == (0, 375)
    stage = page.locator("#stage").bounding_box()
    assert stage["x"] >= 0 and stage["x"] + stage["width"] <= 375
    context.close()


def test_a_token_is_asked_for_and_kept_for_the_tab(browser, locked):
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(locked)
    page.fill("#token", "wrong-token")
    page.keyboard.press("Enter")
    expect(page.locator("#door-problem")).to_contain_text("does not know")
    page.fill("#token", "secret-token")
    page.keyboard.press("Enter")
    ask(page)
    page.wait_for_selector(".card img:not(.coming)")  # images come with the token too
    assert page.evaluate("sessionStorage.getItem('fastgoal-token')") == "secret-token"
    assert page.evaluate("localStorage.length") == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(24, 25, 26)"
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(252, 251, 248)"
    context.close()
