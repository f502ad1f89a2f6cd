"""The page in a real browser: it answers to hover, zoom and clicks, and asks for nothing."""

import json
import random

import pytest
from PIL import Image

from trainwright.report.page.page import render
from trainwright.report.page.report_story import report_story
from trainwright.report.page.story import Pictures, run_story
from trainwright.report.page.sweep_story import run_labels, told_sweep
from trainwright.runs.record import Record
from trainwright.sweep.job import Job
from trainwright.sweep.store import Store
from trainwright.sweep.verdict.verdict import judge_sweep
from trainwright.sweep.verdict.written import write_json

EVIL = '</script><script>window.sung=1</script><img src=x onerror="window.sung=1">'


def make_run(folder, *, lr=0.1, accuracy=0.9, name="run"):
    """A run folder with all that a page shows, written by hand."""
    for part in ("samples", "plots", "checkpoints"):
        (folder / part).mkdir(parents=True)
    draw = random.Random(0)
    rows = []
    for step in range(1, 101):
        row = {"step": step, "epoch": step / 50, "train/loss": 2 / step + 0.01 * draw.random()}
        row["lr"] = lr
        if step % 25 == 0:
            row |= {"validation/loss": 2.5 / step, "validation/accuracy": accuracy - 0.5 / step}
        rows.append(json.dumps(row))
    (folder / "metrics.jsonl").write_text("\n".join(rows) + "\n{torn")
    best = {"step": 100, "metrics": {"accuracy": accuracy, "loss": 0.025}}
    summary = {
        "status": "finished",
        "name": name,
        "objective": "accuracy",
        "step": 100,
        "steps": 100,
        "seconds": 12.5,
        "examples_per_second": 5000.0,
        "parameters": {"model": 1234},
        "placement": EVIL,
        "best": best,
        "last": best,
        "test": {
            "accuracy": accuracy,
            "confusion": [[8, 2], [1, 9]],
            "per_class": {"recall": [0.8, 0.9], "support": [10, 10]},
        },
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "config.yaml").write_text(
        json.dumps({"optimizer": {"lr": lr}, "model": {"_target_": "x.Net", "note": EVIL}})
    )
    (folder / "overrides.txt").write_text(f"optimizer.lr={lr}\n{EVIL}\n")
    (folder / "train.log").write_text(f"hello\n{EVIL}\n")
    for step, grey in ((50, 60), (100, 200)):
        Image.new("L", (40, 20), grey).save(folder / "samples" / f"{step:06d}.png")
        Image.new("L", (10, 20), grey).save(folder / "samples" / f"{step:06d}-<b>eyes.png")
    Image.new("L", (30, 30), 128).save(folder / "plots" / "predictions.png")
    return folder


def page(path, folders, *, root, sweep=None):
    records = [Record(folder, root=root) for folder in folders]
    path.write_text(render(report_story(EVIL, records, sweep)))
    return path


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    root = tmp_path_factory.mktemp("single")
    return page(root / "page.html", [make_run(root / f"a<b onclick={'x'}>")], root=root)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    root = tmp_path_factory.mktemp("several")
    values = {"ten": (10.0, 0.5), "two": (2.0, 0.9), "hundredth": (0.01, 0.7)}
    runs = [make_run(root / n, lr=lr, accuracy=a, name=n) for n, (lr, a) in values.items()]
    return page(root / "page.html", runs, root=root)


def over(browser, index=0):
    """Where the plotting area of a chart is, after it was scrolled into view."""
    return browser.js(
        "const over = document.querySelectorAll('#curves .u-over')[arguments[0]];"
        "over.scrollIntoView({block: 'center', behavior: 'instant'});"
        "const box = over.getBoundingClientRect();"
        "return [box.left, box.top, box.width, box.height];",
        index,
    )


def test_the_page_asks_for_nothing_and_nothing_in_a_run_is_run(browser, single):
    browser.open(single)
    assert browser.js("return document.querySelectorAll('section').length") >= 6
    assert browser.js("return window.sung") is None
    assert browser.js("return document.querySelector('h1').textContent") == EVIL
    assert EVIL in browser.js("return document.querySelector('pre').textContent")
    asked = [url for url in browser.requests(single) if not url.startswith("data:")]
    assert asked == [single.as_uri()]
    complaints = [e["message"] for e in browser.log("browser") if e["level"] == "SEVERE"]
    assert complaints == []


def test_the_policy_forbids_what_a_script_might_try(browser, single):
    """Were text to become markup after all, it could still neither run nor ask for anything."""
    browser.open(single)
    browser.js(
        "const script = document.createElement('script');"
        "script.textContent = 'window.sung = 1'; document.body.append(script);"
        "const image = new Image(); image.src = 'http://127.0.0.1:9/x';"
        "document.body.append(image);"
    )
    assert browser.js("return window.sung") is None
    refused = " ".join(entry["message"] for entry in browser.log("browser"))
    assert "script-src" in refused
    assert "img-src" in refused


def test_hovering_tells_the_values_of_the_step(browser, single):
    browser.open(single)
    left, top, width, height = over(browser)
    browser.mouse((left + width / 2, top + height / 2))
    told = browser.js(
        "const tips = [...document.querySelectorAll('#curves .tip')];"
        "return tips.filter((tip) => !tip.hidden)[0].innerText"
    )
    lines = told.split("\n")
    assert lines[0].startswith("step ")
    assert abs(int(lines[0].split()[1]) - 50) <= 2
    assert "train" in told
    assert "validation" in told
    assert "0.05" in told  # 2.5 / 50, the validation loss of step 50


def test_of_many_runs_the_nearest_lines_are_told_beside_the_pointer(browser, tmp_path):
    runs = [make_run(tmp_path / f"{'long' * 12}-{i}", name="x") for i in range(6)]  # told by name
    browser.open(page(tmp_path / "page.html", runs, root=tmp_path))
    left, top, width, height = over(browser)
    x, y = left + width / 2, top + height / 2
    browser.mouse((x, y))
    found = "const tip = document.querySelector('#curves .tip:not([hidden])');"
    box = browser.js(f"{found} const b = tip.getBoundingClientRect(); return [b.left, b.top]")
    assert box[1] > top + height or box[0] > x  # below the plot, or right of the pointer
    lines = browser.js(f"{found} return tip.innerText").split("\n")
    assert lines[-1] == "and 2 more"  # of training and validation loss of six runs
    assert sum("long" in line for line in lines) == 10


def scale(browser, index):
    return browser.js(
        "const {min, max} = charts[arguments[0]].plot.scales.x; return [min, max];", index
    )


def test_dragging_zooms_every_chart_and_a_double_click_goes_back(browser, single):
    browser.open(single)
    whole = scale(browser, 0)
    left, top, width, height = over(browser)
    middle = top + height / 2
    browser.mouse((left + width * 0.25, middle), "down", (left + width * 0.5, middle), "up")
    for index in (0, 1):
        low, high = scale(browser, index)
        assert low == pytest.approx(25, abs=2)
        assert high == pytest.approx(50, abs=2)
    browser.mouse((left + width * 0.4, middle), "down", "up", "down", "up")
    assert scale(browser, 0) == whole
    assert scale(browser, 1) == whole


def test_what_a_hook_showed_has_a_section_with_a_slider_of_its_own(browser, single):
    browser.open(single)
    title, width, step = browser.js(
        "const shown = document.querySelector('#hook-0');"
        "return [shown.querySelector('h2').textContent, shown.querySelector('img').naturalWidth,"
        "shown.querySelector('output').textContent]"
    )
    assert (title, width, step) == ("<b>eyes through training", 10, "step 100")


def test_the_slider_moves_through_the_samples(browser, single):
    browser.open(single)
    state = (
        "return [document.querySelector('#samples output').textContent,"
        "document.querySelector('#samples img').src]"
    )
    last, last_image = browser.js(state)
    assert last == "step 100"
    browser.keys("return document.querySelector('#samples input[type=range]')", "\ue012")  # left
    first, first_image = browser.js(state)
    assert first == "step 50"
    assert first_image != last_image
    assert first_image.startswith("data:image/png;base64,")


def column(browser, table, index):
    return browser.js(
        "return [...document.querySelectorAll(arguments[0] + ' tbody tr')]"
        ".map((row) => row.children[arguments[1]].textContent)",
        table,
        index,
    )


def test_a_sweeps_table_sorts_numbers_as_numbers_both_ways(browser, several):
    browser.open(several)
    head = "return document.querySelector('#sweep-table thead button')"
    assert browser.js(f"{head}.textContent") == "optimizer.lr"
    browser.click(head)
    assert column(browser, "#sweep-table", 0) == ["0.01", "2", "10"]
    browser.click(head)
    assert column(browser, "#sweep-table", 0) == ["10", "2", "0.01"]
    assert browser.js(f"{head}.parentNode.getAttribute('aria-sort')") == "descending"


def write_sweep(folder, metrics=("validation/accuracy",)):
    """A sweep as it is stored: three settings, two seeds, and one job that failed without a run."""
    store = Store(folder)
    store.prepare()
    ranked = [{"metric": metric, "higher_is_better": "loss" not in metric} for metric in metrics]
    command = "train -m optimizer.lr=10,2,0.01 seed=0,1"
    store.write_plan({"command": command, "ranked": ranked})
    found = {("10", "0"): 0.8, ("10", "1"): None, ("2", "0"): 0.9, ("2", "1"): 0.8,
             ("0.01", "0"): 0.5, ("0.01", "1"): 0.5}  # fmt: skip
    for number, ((lr, seed), value) in enumerate(found.items()):
        point = {"optimizer.lr": lr, "seed": seed}
        overrides = (*(f"{key}={text}" for key, text in point.items()), f"run.name={EVIL}")
        job = Job(f"{lr}-{seed}", number, "run", point, overrides, config={}, trial=None)
        store.add([job])
        if value is None:
            store.write_state(job.id, {"status": "failed", "error": EVIL})
            continue
        run = make_run(store.folder(job), lr=float(lr), accuracy=value)
        row = {"step": 1, "validation/accuracy": value, "validation/loss": 1 / value}
        (run / "metrics.jsonl").write_text(json.dumps(row) + "\n")
        store.write_state(job.id, {"status": "finished", "folder": run.name, "seconds": 2.0})
    write_json(judge_sweep(store), store)
    return folder


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    root = tmp_path_factory.mktemp("swept")
    folder = write_sweep(root / "sweep")
    return page(root / "page.html", [folder / "run-2-0"], root=root, sweep=told_sweep(folder))


def test_a_sweep_says_its_verdict_and_its_settings_sort(browser, swept):
    browser.open(swept)
    assert browser.js("return document.querySelector('.verdict').textContent") == (
        "Best: optimizer.lr=2, mean validation/accuracy 0.85. "
        "Far ahead of 1 other, which so few seeds cannot prove. Two seeds tell little: add some."
    )
    assert EVIL in browser.js("return document.querySelector('#sweep code').textContent")
    assert browser.js("return window.sung") is None
    assert column(browser, "#settings-table", 1) == ["2", "10", "0.01"]
    assert column(browser, "#settings-table", 2) == ["0.85", "0.8", "0.5"]
    assert column(browser, "#settings-table", 4) == ["2", "1", "2"]
    assert column(browser, "#settings-table", 5) == ["0", "1", "0"]
    head = "return document.querySelectorAll('#settings-table thead button')[1]"
    browser.click(head)
    assert column(browser, "#settings-table", 1) == ["0.01", "2", "10"]
    assert len(column(browser, "#sweep-table", 0)) == 6
    plots = "return [...document.querySelectorAll('#sweep .charts h3')].map((h) => h.textContent)"
    assert browser.js(plots) == [
        "validation/accuracy against optimizer.lr",
        "validation/accuracy against seed",
    ]
    ticks = browser.js("return charts.at(-1).own.axes[0]._splits")
    assert ticks
    assert all(tick == int(tick) for tick in ticks), "there is no seed between two"


def test_a_sweep_by_several_metrics_shows_the_best_by_each_and_the_front(browser, tmp_path):
    folder = write_sweep(tmp_path / "sweep", ("validation/accuracy", "validation/loss"))
    made = page(
        tmp_path / "page.html", [folder / "run-2-0"], root=tmp_path, sweep=told_sweep(folder)
    )
    browser.open(made)
    said = browser.js("return [...document.querySelectorAll('.verdict')].map((p) => p.textContent)")
    assert [text.split(",")[0] for text in said] == [
        "Best validation/accuracy: optimizer.lr=2",
        "Best validation/loss: optimizer.lr=2",
    ]
    heads = "return [...document.querySelectorAll('#settings-table th')].map((h) => h.textContent)"
    assert browser.js(heads) == [
        "place", "optimizer.lr", "mean validation/accuracy", "sd", "mean validation/loss", "sd",
        "front", "runs", "failed", "p, validation/accuracy", "time",
    ]  # fmt: skip
    assert column(browser, "#settings-table", 6) == ["yes", "", ""]
    assert column(browser, "#settings-table", 4)[2] == "2"  # 1 / 0.5
    plots = "return [...document.querySelectorAll('#sweep .charts h3')].map((h) => h.textContent)"
    assert browser.js(plots) == [
        "validation/loss against validation/accuracy",
        "validation/accuracy against optimizer.lr",
        "validation/accuracy against seed",
        "validation/loss against optimizer.lr",
        "validation/loss against seed",
    ]


def test_a_damaged_sweep_json_is_left_out(tmp_path):
    folder = write_sweep(tmp_path / "sweep")
    told = json.loads((folder / "sweep.json").read_text())
    for damage in ({"metrics": 5}, {"metrics": [5]}, {"settings": "none"}):
        (folder / "sweep.json").write_text(json.dumps({**told, **damage}))
        assert told_sweep(folder) is None
    odd = [{"point": [], "jobs": {}, "mean": "x"}, 3, {"jobs": [1, {"point": {"a": {}}}]}]
    (folder / "sweep.json").write_text(json.dumps({**told, "settings": odd, "best": [{}, 4]}))
    verdict = told_sweep(folder)["verdict"]
    first, second = verdict["settings"]
    assert (first["mean"], first["num"], second["num"]) == ({}, 0, 0)
    assert verdict["bests"][0]["compared"] == []
    (folder / "sweep.json").write_text("{")
    assert told_sweep(folder) is None


def test_the_best_of_several_runs_is_marked_and_what_differs_is_shown(browser, several):
    browser.open(several)
    best = "return [...document.querySelectorAll('#comparison td.best')].map((c) => c.textContent)"
    assert set(browser.js(best)) == {"0.9"}
    keys = "return [...document.querySelectorAll('#config tbody th')].map((k) => k.textContent)"
    assert browser.js(keys) == ["optimizer.lr"]
    browser.click("return document.querySelector('#config input[type=checkbox]')")
    assert len(browser.js(keys)) > 1


def test_the_score_of_a_gan_is_told_as_at_the_end_of_its_training(browser, tmp_path):
    run = make_run(tmp_path / "gan")
    figure = {"value": 1.5, "error": 0.12, "floor": 0.5, "floor_error": 0.031}
    score = {
        "features": EVIL,
        "num_samples": 10_000,
        "num_floor": 10_000,
        "figures": {"frechet": figure},
        "per_class": {EVIL: {"frechet": 3.0, "frechet_error": 0.2, "as_asked": 0.97}},
    }
    summary = json.loads((run / "summary.json").read_text())
    summary |= {"health": {"healthy": [1, 2], "collapsing": [3]}, "test": {"score": score}}
    (run / "summary.json").write_text(json.dumps(summary))
    browser.open(page(tmp_path / "page.html", [run], root=tmp_path))
    cells = "return [...document.querySelectorAll('#score td')].map((cell) => cell.textContent)"
    assert browser.js(cells) == [
        *("Fréchet distance", "1.50 ± 0.12", "0.500 ± 0.031", "lower"),
        *(EVIL, "3.00 ± 0.20", "-", "97.0%"),
    ]
    assert browser.js("return window.sung") is None
    told = browser.js("return document.querySelector('#summary').textContent")
    assert "health: healthy at 2 evaluations, collapsing at 1 evaluation" in told
    for damaged in (5, {}, {"figures": 5}, {**score, "figures": {"frechet": 3}}):
        (run / "summary.json").write_text(json.dumps({"test": {"score": damaged}, "health": 3}))
        assert run_story(Record(run), Pictures())["score"] is None


def test_light_and_dark_change_the_page(browser, single):
    browser.open(single)
    background = "return getComputedStyle(document.body).backgroundColor"
    first = browser.js(background)
    browser.click("return document.getElementById('theme')")
    assert browser.js(background) != first


def test_json_cannot_close_its_element():
    text = render({**report_story("t", []), "note": EVIL})
    assert "window.sung" in text
    assert text.count("</script>") == 2
    start = text.index('id="data">') + len('id="data">')
    data = json.loads(text[start : text.index("</script>", start)])
    assert data["note"] == EVIL


def test_a_damaged_folder_still_makes_a_page(tmp_path):
    folder = make_run(tmp_path / "run")
    (folder / "summary.json").write_text('{"test": {"confusion": [[1, "x"]]}, "best": 5')
    (folder / "metrics.jsonl").write_text('{"step": 1, "train/loss": NaN}\nnonsense\n[]\n')
    (folder / "samples" / "000100.png").write_bytes(b"no picture")
    told = run_story(Record(folder), Pictures())
    assert told["confusion"] is None
    assert [sample["step"] for sample in told["samples"]] == [50]
    assert "sung" in render(report_story("", [Record(folder)]))


def test_pictures_end_where_the_room_ends(tmp_path):
    folder = make_run(tmp_path / "run")
    size = (folder / "samples" / "000050.png").stat().st_size
    told = run_story(Record(folder), Pictures(room=size))
    assert [sample["step"] for sample in told["samples"]] == [50]
    assert told["predictions"] is None


def test_a_run_is_called_by_the_settings_that_differ(tmp_path):
    """The keys of curves said mlp-digits-f4057dd316e4."""
    runs = [make_run(tmp_path / f"mlp-digits-{i}f4057dd316e", lr=10.0**-i) for i in range(3)]
    story = report_story("t", [Record(folder, root=tmp_path) for folder in runs])
    assert [run["label"] for run in story["runs"]] == ["lr=1", "lr=0.1", "lr=0.01"]
    assert [run["name"] for run in story["runs"]] == [folder.name for folder in runs]
    (alone,) = report_story("t", [Record(runs[0], root=tmp_path)])["runs"]
    assert alone["label"] == alone["name"]
    twice = [*runs, make_run(tmp_path / "again", lr=1.0)]  # two of the same settings
    story = report_story("t", [Record(folder, root=tmp_path) for folder in twice])
    assert [run["label"] for run in story["runs"]] == [folder.name for folder in twice]


def test_of_many_settings_the_first_are_told(tmp_path):
    """A search of four keys called its runs mlp-digits-f4057dd316e4 again."""
    runs = [make_run(tmp_path / f"mlp-digits-{i}f4057dd316e", lr=0.00258612 / 3**i) for i in (0, 1)]
    for i, folder in enumerate(runs):
        config = json.loads((folder / "config.yaml").read_text())
        config["model"] = {
            "dropout_of_the_inputs": 0.0106587 + i,
            "label_smoothing": 0.00232011 + i,
        }
        (folder / "config.yaml").write_text(json.dumps(config))
    labels = run_labels([Record(folder, root=tmp_path) for folder in runs])
    assert all(label.startswith("lr=0.00") and label.endswith(" …") for label in labels)


def test_keys_of_a_model_say_nothing_beside_its_name(tmp_path):
    runs = []
    for name, model in (("a", {"widths": [8], "_target_": "x.Net"}), ("b", {"_target_": "y.Net"})):
        runs.append(make_run(tmp_path / name))
        config = {"optimizer": {"lr": 0.1}, "model": model}
        (runs[-1] / "config.yaml").write_text(json.dumps(config))
        (runs[-1] / "overrides.txt").write_text(f"model={name}\n")
    labels = run_labels([Record(folder, root=tmp_path) for folder in runs])
    assert labels == ["model=a", "model=b"]
    (runs[0] / "overrides.txt").write_text(f"model={'a' * 60}\n")
    assert run_labels([Record(folder, root=tmp_path) for folder in runs]) == ["a", "b"]


def test_a_sweep_tells_on_which_scale_a_key_was_searched(tmp_path):
    folder = write_sweep(tmp_path / "sweep")
    store = Store(folder)
    scales = {"optimizer.lr": False, "model.dropout": True}
    store.write_plan({**store.plan(), "by_logarithm": scales})
    write_json(judge_sweep(store), store)
    story = report_story("t", [Record(folder / "run-2-0")], told_sweep(folder))
    assert story["by_logarithm"] == scales
