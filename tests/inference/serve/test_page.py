"""The page in a real browser: a person draws, drops, fills in, types, and reads what comes."""

import base64
import io

import pytest
from PIL import Image

from .conftest import served

pytestmark = pytest.mark.slow

ALERT = (
    "return [...document.querySelectorAll('[role=alert]')].map((one) => one.textContent).join('')"
)
DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
const held = new DataTransfer();
held.items.add(new File([bytes], arguments[1], { type: arguments[2] }));
document.querySelector(".drop").dispatchEvent(new DragEvent("drop", { dataTransfer: held }));
"""
CHOOSE = """const field = document.getElementById("method");
field.value = arguments[0]; field.dispatchEvent(new Event("change"))"""
OVERLAY = """const picture = document.querySelector("#reasons img");
return picture && [picture.src, picture.naturalWidth]"""
REASONS = """return [...document.querySelectorAll("#reasons .bar")].map((bar) =>
[bar.querySelector("b").textContent, bar.querySelector("em").textContent,
 parseFloat(bar.querySelector("span").style.width), bar.querySelector("span").className])"""
SHADED = """return [...document.querySelectorAll("#reasons pre span")].map((token) =>
[token.textContent, token.title, getComputedStyle(token).backgroundColor])"""
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}


@pytest.fixture
def show(browser, site):
    """Go to a run's page; nothing may be wrong on it at the end, nor come from elsewhere."""
    base = f"http://127.0.0.1:{site.port}"

    def go(path):
        browser.open(base + path)

    yield go
    told = [entry["message"] for entry in browser.log("browser") if "422" not in entry["message"]]
    assert told == []
    asked = [url for url in requests_of(browser) if not url.startswith(("data:", "blob:"))]
    assert asked
    assert all(url.startswith(base) for url in asked)


def requests_of(browser):
    return browser.js("return performance.getEntriesByType('resource').map((one) => one.name)")


def text_of(browser, name):
    return browser.js("return document.getElementById(arguments[0])?.innerText ?? ''", name)


def drop(browser, content, name, kind):
    browser.js(DROP, base64.b64encode(content).decode(), name, kind)


def shares(browser):
    """The bars, by class."""
    script = """const bars = [...document.querySelectorAll("#answer .bar")];
        return Object.fromEntries(bars.map((bar) =>
        [bar.querySelector("b").textContent, parseFloat(bar.querySelector("em").textContent)]))"""
    return browser.js(script)


def test_a_digit_is_drawn_and_the_bars_move(browser, show, site, wait):
    show("/")
    wait(lambda: browser.js("return document.getElementById('pad') !== null"))
    left, top, width, height = browser.js(
        "const box = document.getElementById('pad').getBoundingClientRect();"
        "return [box.left, box.top, box.width, box.height]"
    )
    places = [(left + width * x, top + height * y) for x, y in ((0.5, 0.2), (0.5, 0.5), (0.4, 0.8))]
    browser.mouse(places[0], "down", *places[1:], "up")
    wait(lambda: len(shares(browser)) == 10)
    wait(lambda: "ms" in text_of(browser, "took"))
    drawn = shares(browser)
    assert 99 < sum(drawn.values()) < 101
    # What is shown is what the picture that the network sees is answered with.
    picture = browser.js(
        "return document.querySelector('canvas.seen').toDataURL('image/png').split(',')[1]"
    )
    said = site.ask("/predict?top=10", {"inputs": picture}).json["top"]
    wait(lambda: shares(browser) == {name: round(100 * p, 1) for name, p in said.items()})
    # Why, by the first method, and by another.
    browser.click("return document.querySelector('#why summary')")
    for method in ("integrated gradients", "occlusion"):
        browser.js(CHOOSE, method)
        told = site.ask(f"/explain?method={method.replace(' ', '-')}", {"inputs": picture}).json
        address = f"data:image/png;base64,{told['picture']}"
        wait(lambda address=address: browser.js(OVERLAY) == [address, 256])
        assert f"for {told['explained']}" in text_of(browser, "reasons")
        assert told["methods"][method]["verdict"] in text_of(browser, "reasons")
    browser.click("return document.getElementById('clear')")
    wait(lambda: shares(browser) == {})
    assert browser.js("return document.getElementById('why').hidden")
    # The same without a mouse.
    browser.keys("return document.getElementById('pad')", "\ue015\ue015\ue014\ue014\ue013")
    wait(lambda: len(shares(browser)) == 10)
    assert browser.js(ALERT) == ""


def test_a_photo_is_dropped_and_what_is_no_photo_is_told(browser, show, site, wait):
    show("/digits/")
    wait(lambda: browser.js("return document.querySelector('.drop') !== null"))
    Image.linear_gradient("L").save(file := io.BytesIO(), "JPEG")
    drop(browser, file.getvalue(), "photo.jpg", "image/jpeg")
    said = site("POST", "/predict?top=10", file.getvalue(), "image/jpeg").json["top"]
    wait(lambda: shares(browser) == {name: round(100 * p, 1) for name, p in said.items()})
    drop(browser, b"no photo", "photo.png", "image/png")
    wait(lambda: "not a PNG, JPEG or WebP image" in browser.js(ALERT))


def test_a_row_is_filled_in_and_a_table_dropped(browser, show, site, wait):
    show("/people/")
    wait(lambda: len(shares(browser)) == 2)  # of what training had on average
    before = shares(browser)
    browser.js("document.getElementById('field-age').value = ''")
    browser.keys("return document.getElementById('field-age')", "79")
    wait(lambda: shares(browser) != before)
    row = browser.js("""return Object.fromEntries([...document.querySelectorAll("form [id]")].map(
        (field) => [field.id.replace("field-", ""), field.value]))""")
    assert row["age"] == "79"
    said = site.ask("/people/predict", row).json["top"]
    wait(lambda: shares(browser) == {name: round(100 * p, 1) for name, p in said.items()})
    browser.keys("return document.querySelector('#why summary')", "\ue007")  # Enter opens it
    told = site.ask("/people/explain", row).json
    values = dict(zip(told["features"], told["methods"]["Shapley values"]["values"], strict=True))
    wait(lambda: len(browser.js(REASONS)) == 4)
    shown = browser.js(REASONS)
    names = sorted(values, key=lambda name: -abs(values[name]))
    assert [name.partition(": ")[0] for name, *_ in shown] == names
    for (name, told_as, width, side), value in zip(shown, map(values.get, names), strict=True):
        assert float(told_as.replace("\u2212", "-")) == pytest.approx(value, rel=0.01)
        assert width == pytest.approx(50 * abs(value) / abs(values[names[0]]), rel=0.01)
        assert side == ("against" if value < 0 else "for"), name
    table = b"age,job,since,income\n20,cook,2020-01-11,\n70,pilot,2020-01-11,0.4\n"
    drop(browser, table, "people.csv", "text/csv")
    rows = "return document.querySelectorAll('#answer tr').length"
    wait(lambda: browser.js(rows) == 3)
    assert browser.js("return document.getElementById('why').hidden")


def test_the_tokens_of_a_text_are_shaded(browser, reviews, wait):
    with served({"reviews": reviews}) as (client, _):
        browser.open(f"http://127.0.0.1:{client.port}/")
        wait(lambda: browser.js("return document.getElementById('field-text') !== null"))
        browser.keys("return document.getElementById('field-text')", "dull good")
        browser.js("document.getElementById('why').open = true")
        told = client.ask("/explain", {"text": "dull good"}).json
        wait(lambda: [text for text, *_ in browser.js(SHADED)] == told["parts"])
        values = told["methods"]["integrated gradients"]["values"]
        shaded = browser.js(SHADED)
        for (_, title, _), value in zip(shaded, values, strict=True):
            assert float(title.replace("\u2212", "-")) == pytest.approx(value, rel=0.01)
        strongest = max(range(len(values)), key=lambda i: abs(values[i]))
        assert len({colour for *_, colour in shaded}) > 2
        assert "0.7" in shaded[strongest][2]
        assert browser.js(ALERT) == ""


def test_a_text_streams_and_can_be_stopped(browser, show, wait):
    show("/gpt/")
    wait(lambda: browser.js("return document.getElementById('make') !== null"))
    browser.keys("return document.getElementById('option-prompt')", "To be")
    browser.keys("return document.getElementById('option-max_tokens')", "50000")
    browser.keys("return document.getElementById('option-prompt')", "\ue009\ue007")  # Ctrl+Enter
    length = "return document.getElementById('text').textContent.length"
    wait(lambda: browser.js(length) > 20)
    grown = browser.js(length)
    wait(lambda: browser.js(length) > grown)  # while it is written
    assert text_of(browser, "text").startswith("To be")
    browser.click("return document.getElementById('stop')")
    wait(lambda: browser.js("return document.getElementById('stop').disabled"))
    assert browser.js(length) < 50_000
    assert browser.js(ALERT) == ""


def test_samples_change_with_seed_and_class(browser, show, wait):
    show("/gan/")
    source = "return document.getElementById('made').src"
    wait(lambda: browser.js(source))
    wait(lambda: browser.js("return document.getElementById('made').naturalWidth > 40"))
    first = browser.js(source)
    browser.keys(
        "return document.getElementById('option-seed')", "\ue014"
    )  # the arrow to the right
    wait(lambda: browser.js(source) != first)
    second = browser.js(source)
    assert browser.js("return document.getElementById('option-seed').value") == "1"
    browser.js("""const field = document.getElementById('option-class');
        field.value = '3'; field.dispatchEvent(new Event('input'))""")
    wait(lambda: browser.js(source) != second)
    assert browser.js(ALERT) == ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_can_be_read_in_light_and_dark(browser, show, wait, scheme):
    def command(name, **more):
        browser.call("POST", "/goog/cdp/execute", {"cmd": f"Emulation.{name}", "params": more})

    command("setDeviceMetricsOverride", **PHONE)
    command("setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    try:
        for path in ("/docs", "/people/", "/gpt/", "/gan/"):
            show(path)
            wait(lambda: browser.js("return document.getElementById('api') !== null"))
            assert browser.js("return document.documentElement.scrollWidth") <= 390
            ground, ink = browser.js(
                "const style = getComputedStyle(document.body);"
                "return [style.backgroundColor, style.color].map((colour) => "
                "colour.match(/[0-9]+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0))"
            )
            assert (ground > ink + 400) if scheme == "light" else (ink > ground + 400)
    finally:
        command("clearDeviceMetricsOverride")
        command("setEmulatedMedia", features=[])
