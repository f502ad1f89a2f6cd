"""`data=table`: types, what is learned of columns, splits, files of all kinds, and bad ones."""

import csv
import gzip
import io
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.preprocessing import OrdinalEncoder, RobustScaler

from trainwright.config.plan import Plan
from trainwright.data.columns import Classes, Labels, Values
from trainwright.data.sources import table as source
from trainwright.data.sources.csv_rows import read_rows
from trainwright.data.sources.table import load_table
from trainwright.data.tables import build
from trainwright.data.tables import rows as rows_module
from trainwright.data.tables.cells import MISSING
from trainwright.data.tables.kinds import Reading
from trainwright.data.tables.reader import Table, separator_of
from trainwright.errors import ConfigError, DataError

HEADER = ["id", "age", "plan", "since", "spent", "active", "note", "country", "y"]
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs", "and", "cats", "today"]


def customers(num=400, seed=0):
    draw = random.Random(seed)
    return [
        [
            f"C{i:05d}",
            "" if draw.random() < 0.1 else str(draw.randint(18, 80)),
            draw.choice(["basic", "plus", "pro", "NA"]),
            f"{draw.randint(1, 28):02d}.{draw.randint(1, 12):02d}.20{draw.randint(10, 23)}",
            f"{draw.lognormvariate(3, 1):.6f}",
            draw.choice(["yes", "no"]),
            " ".join(draw.choices(WORDS, k=8)),
            "DE",
            draw.choice(["no", "yes"]),
        ]
        for i in range(num)
    ]


def write(path, rows, header=HEADER, **form):
    text = io.StringIO()
    csv.writer(text, **form).writerows([header, *rows])
    path.write_text(text.getvalue())
    return path


@pytest.fixture
def data(tmp_path):
    return load_table(path=str(write(tmp_path / "a.csv", customers())), target="y")


def told(dataset):
    kinds = (line.split() for line in dataset.notes if line.startswith("  "))
    return {words[0]: words[1] for words in kinds}


def test_each_column_is_what_a_person_would_call_it(data):
    assert {name: told(data)[name] for name in HEADER[:-1]} == {
        "id": "id",
        "age": "number",
        "plan": "category",
        "since": "date",
        "spent": "number",
        "active": "boolean",
        "note": "text",
        "country": "constant",
    }
    assert data.info.columns["categories"].names == ("plan", "active")
    assert [how for _, how in data.info.columns["numbers"].cells] == [
        "number",
        "date %d.%m.%Y",
        "number",
        "text 64",
    ]
    assert data.info.columns["targets"] == Classes(("no", "yes"))
    assert any("classes: no: " in note for note in data.notes)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2.5", "-3e2", " 4 "], "number"),
        (["1,5", "2,25", "3,0", "4"], "number"),
        (["a", "b", "12", "d"], "category"),
        (["true", "False", "TRUE", "false"], "boolean"),
        (["2024-01-31", "2023-12-01", "", "2022-02-02"], "date"),
        (["2024-01-31 12:30", "2023-12-01T00:00:00", "2023-12-01", "2022-02-02"], "date"),
        (["12/31/2024", "01/02/2023", "03/04/2023", "1/5/2022"], "date"),
        (["", "NA", "null", "-"], "empty"),
        (["7", "7", "7", "7"], "constant"),
        (["7", "7", "", "7"], "number"),
        (["20240131", "20231201", "20220202", "20200101"], "number"),
    ],
)
def test_types_are_those_found_by_hand(cells, kind, tmp_path):
    rows = [[cells[i % 4], f"{i / 7:.3f}", "ab"[i % 2]] for i in range(60)]
    form = {"delimiter": ";"}
    path = write(tmp_path / "a.csv", rows, ["c", "x", "y"], **form)
    assert told(load_table(path=str(path), target="y"))["c"] == kind


@pytest.mark.numeric
def test_numbers_and_categories_are_as_scikit_learn_has_them(data, tmp_path):
    """Fitted to the training rows alone, which are found by their place in the file."""
    rows = customers()
    info, places = data.info, {}
    numbers = info.columns["numbers"]
    spent = numbers.names.index("spent")
    by_spent = {np.float32(row[4]): row for row in rows}
    for name, split in data.splits.items():
        places[name] = [by_spent[v] for v in split.columns["numbers"][:, spent].numpy()]
    of = {
        name: np.array([[float(r[1] or "nan"), float(r[4])] for r in chosen])
        for name, chosen in places.items()
    }
    imputer = SimpleImputer(strategy="median").fit(of["train"])
    scaler = RobustScaler(unit_variance=True).fit(of["train"][~np.isnan(of["train"]).any(1)])
    ages = of["train"][:, 0][~np.isnan(of["train"][:, 0])]
    scaler.center_[0] = np.median(ages)
    scaler.scale_[0] = RobustScaler(unit_variance=True).fit(ages[:, None]).scale_[0]
    scaler.center_[1] = np.median(of["train"][:, 1])
    spending = of["train"][:, 1:]
    scaler.scale_[1] = RobustScaler(unit_variance=True).fit(spending).scale_[0]
    wanted = scaler.transform(imputer.transform(of["test"]))
    wanted = wanted / np.sqrt(1 + (wanted / 3) ** 2)
    seen = numbers.preparation(torch.device("cpu"))(data.test.columns["numbers"]).numpy()
    np.testing.assert_allclose(seen[:, [0, spent]], wanted, rtol=2e-5, atol=1e-6)
    missing = MissingIndicator(features="all").fit_transform(of["test"])[:, 0]
    assert numbers.flagged == (0,)
    assert seen[:, -1].tolist() == missing.astype(float).tolist()
    plans = {name: [[r[2]] for r in chosen if r[2] != "NA"] for name, chosen in places.items()}
    encoder = OrdinalEncoder().fit(plans["train"])
    has = [r[2] != "NA" for r in places["test"]]
    codes = data.test.columns["categories"][:, 0].numpy()
    assert codes[has].tolist() == (encoder.transform(plans["test"])[:, 0] + 2).tolist()
    assert set(codes[~np.array(has)]) == {1}


def test_nothing_that_is_learned_changes_with_the_rows_that_are_held_out(data, tmp_path):
    rows = customers()
    learned = data.info.plain()
    spent = data.info.columns["numbers"].names.index("spent")
    train = set(data.train.columns["numbers"][:, spent].tolist())
    held_out = [i for i, row in enumerate(rows) if float(np.float32(row[4])) not in train]
    assert len(held_out) == 80
    draw = random.Random(1)
    for column in range(8):
        cells = [rows[i][column] for i in held_out]
        draw.shuffle(cells)
        for i, cell in zip(held_out, cells, strict=True):
            rows[i][column] = cell
    for i in held_out:  # and values that training never sees
        rows[i][1], rows[i][2], rows[i][6] = "9999", f"new {i}", "quite other words than those"
    changed = load_table(path=str(write(tmp_path / "a.csv", rows)), target="y")
    assert changed.info.plain() == learned
    assert set(changed.test.columns["categories"][:, 0].tolist()) == {0}
    for i in set(range(len(rows))) - set(held_out):  # the control: training rows change it
        rows[i][1] = "9999"
    again = load_table(path=str(write(tmp_path / "a.csv", rows)), target="y")
    assert again.info.plain() != learned


@pytest.mark.parametrize("target", ["y", "spent"])
def test_prediction_reads_every_cell_as_training_did(target, tmp_path):
    rows = customers(seed=3)
    path = write(tmp_path / "a.csv", rows)
    data = load_table(path=str(path), target=target, null=["", "NA", "pro"])
    columns = [data.info.columns[name] for name in data.info.inputs]
    names = [cell for column in columns for cell in column.cell_names("")]
    stored = set()
    for split in (data.train, data.validation, data.test):
        found = [split.columns[name] for name in data.info.inputs]
        for i in range(len(split)):
            stored.add(tuple(_bytes(array[i].numpy()) for array in found))
    read = []
    for row in read_rows(path, names, is_named=True):
        cells, parts = list(row.cells), []
        for column in columns:
            num = len(column.cell_names(""))
            parts.append(_bytes(column.read(cells[:num], Path())))
            cells = cells[num:]
        read.append(tuple(parts))
    assert len(read) == len(rows)
    assert set(read) == stored


def _bytes(array):
    assert array.dtype in (np.float32, np.int64)
    return np.where(np.isnan(array), math.nan, array).astype(array.dtype).tobytes()


def same(one, other):
    assert one.info.columns == other.info.columns
    for name, split in one.splits.items():
        for key, column in split.columns.items():
            found = other.splits[name].columns[key]
            assert torch.equal(column.nan_to_num(nan=-1e9), found.nan_to_num(nan=-1e9))


def test_the_same_table_in_other_files_is_the_same_data(data, tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = customers()
    same(data, load_table(path=str(write(tmp_path / "b.tsv", rows, delimiter="\t")), target="y"))
    packed = tmp_path / "c.csv.gz"
    packed.write_bytes(gzip.compress(write(tmp_path / "c.csv", rows).read_bytes()))
    same(data, load_table(path=str(packed), target="y"))
    wide = tmp_path / "d.csv"
    wide.write_bytes(write(tmp_path / "e.csv", rows).read_text().encode("utf-16"))
    same(data, load_table(path=str(wide), target="y"))
    columns = dict(zip(HEADER, zip(*rows, strict=True), strict=True))
    columns["age"] = [int(cell) if cell else None for cell in columns["age"]]
    columns["spent"] = [float(cell) for cell in columns["spent"]]
    columns["plan"] = [None if cell == "NA" else cell for cell in columns["plan"]]
    parquet.write_table(pa.table(columns), tmp_path / "f.parquet")
    same(data, load_table(path=str(tmp_path / "f.parquet"), target="y"))


def test_a_large_table_is_mapped_from_a_cache_and_the_same(data, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "SMALL", 0)
    monkeypatch.setattr(rows_module, "SMALL", 0)
    wanted = {"path": str(tmp_path / "a.csv"), "target": "y", "root": str(tmp_path / "root")}
    first = load_table(**wanted)
    (folder,) = (tmp_path / "root" / "table-cache").iterdir()
    written = (folder / "numbers.bin").stat().st_mtime_ns
    second = load_table(**wanted)
    assert (folder / "numbers.bin").stat().st_mtime_ns == written
    assert second.train.mapped is not None
    assert second.notes == data.notes
    for found in (first, second):
        same(data, found)
    content = bytearray((folder / "numbers.bin").read_bytes())
    content[5] ^= 64
    (folder / "numbers.bin").write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        load_table(**wanted)


def test_by_hash_a_row_stays_in_its_split_when_others_come(tmp_path):
    rows = customers()

    def splits(chosen):
        path = write(tmp_path / "a.csv", chosen)
        found = load_table(path=str(path), target="y", split="hash", validation=0.2, test=0.2)
        place = found.info.columns["numbers"].names.index("spent")
        return {
            value: name
            for name, split in found.splits.items()
            for value in split.columns["numbers"][:, place].tolist()
        }

    few, many = splits(rows[:250]), splits(rows[100:])
    both = few.keys() & many.keys()
    assert len(both) > 140
    assert {value: few[value] for value in both} == {value: many[value] for value in both}
    sizes = [list(many.values()).count(name) for name in ("train", "validation", "test")]
    assert all(abs(n - wanted) < 40 for n, wanted in zip(sizes, (180, 60, 60), strict=True))


def test_rows_of_one_group_stay_in_one_split_and_the_future_is_the_test(tmp_path):
    rows = [[f"g{i % 23}", f"{i}.5", f"{2000 + i % 19}-03-01", "ab"[i % 2]] for i in range(400)]
    path = str(write(tmp_path / "a.csv", rows, ["g", "x", "when", "y"]))
    found = load_table(path=path, target="y", group="g", ignore=["when"])
    groups = [
        {int(v) % 23 for v in s.columns["numbers"][:, 0].tolist()} for s in found.splits.values()
    ]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 23
    assert all(groups)
    found = load_table(path=path, target="y", time="when", ignore=["g"])
    years = [s.columns["numbers"][:, 1] for s in found.splits.values()]
    assert float(years[0].max()) <= float(years[1].min())
    assert float(years[1].max()) <= float(years[2].min())


def test_a_target_is_a_class_or_a_value_or_what_one_says(tmp_path):
    rows = [[f"{i / 3:.2f}", i % 5, f"{i / 7:.2f}", i % 2, "ab"[i % 2]] for i in range(90)]
    path = str(write(tmp_path / "a.csv", rows, ["x", "five", "value", "bit", "word"]))
    load = {"path": path, "columns": ["x"]}
    assert load_table(target="five", **load).info.columns["targets"] == Classes(tuple("01234"))
    assert load_table(target="five", target_kind="value", **load).info.target == "values"
    several = load_table(target=["value", "five"], target_kind="value", **load).info
    assert isinstance(several.columns["targets"], Values)
    assert several.num_outputs == 2
    assert load_table(target=["bit", "word"], **load).info.columns["targets"] == Labels(
        ("bit", "word"), (("0", "1"), ("a", "b"))
    )


def test_yes_and_no_stay_what_they_were_in_files_that_have_one_of_them_or_other_words(tmp_path):
    rows = [[i, i % 2, "no" if i % 3 else "yes"] for i in range(60)]
    path = write(tmp_path / "a.csv", rows, ["x", "bit", "word"])
    load = {"target": ["bit", "word"], "columns": ["x"]}
    learned = load_table(path=str(path), **load).info
    other = write(tmp_path / "b.csv", [[i, 1, "yes"] for i in range(9)], ["x", "bit", "word"])
    found = load_table(path=str(other), learned=learned, whole=True, **load)
    assert found.test.columns["targets"].tolist() == [[1, 1]] * 9
    write(other, [[1, 1, "yes"], [2, 0, "ja"]], ["x", "bit", "word"])
    with pytest.raises(DataError, match="'ja' in line 3 is a class that this run has not learned"):
        load_table(path=str(other), learned=learned, whole=True, **load)


def test_a_long_tail_is_learned_as_logarithms_and_a_short_one_is_not(tmp_path):
    draw = random.Random(0)
    rows = [[i * 0.7, math.exp(draw.gauss(8, 1.5)), draw.gauss(8, 1.5)] for i in range(300)]
    path = str(write(tmp_path / "a.csv", rows, ["x", "price", "height"]))
    price = load_table(path=path, target="price").info.columns["targets"]
    assert price.unit[0] > 0
    assert load_table(path=path, target="height").info.columns["targets"].unit == ()
    assert (
        load_table(path=path, target="price", target_scale="linear").info.columns["targets"].unit
        == ()
    )


def test_copies_of_training_rows_are_counted(tmp_path):
    rows = [[i % 80, (i % 80) * 2, "ab"[i % 2]] for i in range(160)]
    found = load_table(path=str(write(tmp_path / "a.csv", rows, ["p", "q", "y"])), target="y")
    train = {tuple(r) for r in found.train.columns["numbers"].tolist()}
    num = sum(tuple(r) in train for r in found.test.columns["numbers"].tolist())
    assert num > 0
    assert any(f"{num} of the 16 test rows" in note for note in found.notes)


def table(cell="{x}", head="x,y", num=60, other=None, at=30):
    lines = [f"{i / 7:.3f},{'ab'[i % 2]}" for i in range(num)]
    if other is not None:
        lines[at] = other
    return "\n".join([head, *lines, ""])


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        (table(), {"target": "z"}, r"data\.target: bad\.csv has no column z.*\n  it has x, y"),
        (table(), {"target": "x,y"}, r"\n  of several write 'data\.target=\[x,y\]'"),
        (table(), {"ignore": "xx"}, r"data\.ignore: .*no column xx; did you mean x\?"),
        (table(), {"ignore": ["xx"]}, r"data\.ignore: .*no column xx; did you mean x\?"),
        (table(num=60).replace("b\n", "a\n"), {}, "always 'a', so there is nothing to learn"),
        ("a," * 600_000 + "y\n", {}, "too many columns"),
        (",".join(f"c{i}" for i in range(20_000)), {}, "20,000 columns"),
        (table(other="1,a,c"), {}, r"line 32 has 3 cells, and the first line has 2"),
        (table(other="1"), {}, r"line 32 has 1 cells"),
        (table(), {"separator": ";"}, r"no column y\n  it has x,y"),
        (table(head="y,y"), {}, "two columns are called y"),
        (table(other="oops,a"), {"validation": 1, "test": 1}, r"'oops' in line 32"),
        (table(other="inf,a"), {}, r"inf in line 32, which is infinite"),
        (table(other="1e39,a"), {}, "infinite or too large"),
        ("n,y\n" + "".join(f"{i / 7:.2f},{i}\n" for i in range(50)), {}, "counts the rows: an id"),
        ("n,y\n" + "".join(f"{i / 7:.2f},u{i}\n" for i in range(50)), {}, "50 different texts"),
        ("größe,y\n1,a\n".encode("latin-1"), {}, "byte 0xf6.*\n.*data.encoding"),
        ("größe,y\n1,a\n".encode(), {"encoding": "latin-1"}, "UTF-8 text, and no latin-1"),
        (b"\x89PNG\r\n\x1a\n\0\0", {}, "no CSV file: it holds NUL bytes"),
        (table().encode("utf-16-le"), {}, "NUL bytes\n.*data.encoding=utf-16-le"),
        (gzip.compress(table().encode())[:-20], {}, "damaged: "),
        ("", {}, "empty"),
        ("x,y\n", {}, "has no rows"),
        ("x,y\n1,\n2,\n", {}, "has no row with a target"),
        ("1,2\n3,4\n", {}, "without names"),
        ('x,y\n"1,a\n', {}, r"no CSV file \(line 2"),
        ("id,y\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(50)), {}, "no column is left"),
        ("d,y\n" + "".join(f"{'2024-01-02' if i % 2 else '02.01.2024'},{'ab'[i // 2 % 2]}\n"
                           for i in range(50)), {}, "dates in two forms: 2024-12-31 and"),
        ("x,y\n" + "".join(f'"1,{i}",{"ab"[i % 2]}\n' for i in range(100, 160)), {}, "thousands"),
        ("g,x,y\n" + "".join(f"{i % 2},{i / 7},{'ab'[i % 2]}\n" for i in range(60)),
         {"group": "g"}, "only 2 groups"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_from_is_said_in_words(text, settings, message, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message) as refused:
        load_table(**{"path": str(path), "target": "y", **settings})
    assert len(str(refused.value).splitlines()) <= 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoding": "klingon"}, "no such encoding"),
        ({"separator": "::"}, "it must be one letter"),
        ({"target": []}, "name one column"),
        ({"group": "x", "time": "x"}, "split by one of them"),
        ({"split": "hash", "test": 10}, "takes shares"),
    ],
)
def test_settings_that_fit_no_table_are_refused(settings, message, tmp_path):
    (tmp_path / "a.csv").write_text(table())
    with pytest.raises(ConfigError, match=message):
        load_table(**{"path": str(tmp_path / "a.csv"), "target": "y", **settings})


def test_a_cell_of_another_kind_far_from_the_sample_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "SAMPLE", 5)
    (tmp_path / "a.csv").write_text(table(other="oops,a"))
    with pytest.raises(DataError, match="'oops' in line 32"):
        load_table(path=str(tmp_path / "a.csv"), target="y")


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("last, first;y\n" + 'Doe, Ann;1\n"Roe";2\n' * 30, ";"),
        ("x;y,z;w\n" + "1,5;2;3\n2,25;1;4\n" * 30, ";"),
        ("a,y\n" + "1;2;3,1\n4;5;6,2\n" * 30, ","),
    ],
)
def test_what_divides_cells_is_found_from_more_than_the_first_line(text, separator):
    assert separator_of(io.StringIO(text)) == separator


def test_a_table_that_grows_between_two_looks_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(rows_module, "SMALL", 0)
    path = write(tmp_path / "a.csv", customers())
    reading = Reading(MISSING, separator=",")
    rows = rows_module.Rows(Table(path), rows_module.Roles(("y",)), MISSING)

    def store(name, shape, kind):
        with path.open("a") as file:
            file.write(",".join(customers(1)[0]) + "\n")
        return np.empty(shape, dtype=kind)

    wanted = build.Wanted(None, "auto", "random", 0.1, 0.1, 0, None)
    with pytest.raises(DataError, match="changed while it was read"):
        build.build(rows, reading, wanted, store, learned=None, whole=False)


def test_a_line_is_named_that_blank_ones_and_quoted_ends_of_lines_come_before(tmp_path):
    (tmp_path / "a.csv").write_text('x,y\n\n"a\nb",1\n ,\nc,2\nd,3,4\n')
    with pytest.raises(DataError, match="line 7 has 3 cells"):
        load_table(path=str(tmp_path / "a.csv"), target="y")


def test_rows_of_one_moment_are_not_cut_by_time(tmp_path):
    """Ten rows a day, and a tenth of 400: the boundary falls within a day."""
    rows = [[f"2024-01-{1 + i // 13:02d}", f"{i * 7 % 5}", "ab"[i % 3 > 0]] for i in range(400)]
    path = write(tmp_path / "a.csv", rows, ["day", "x", "y"])
    data = load_table(path=str(path), target="y", time="day")
    days = [set(split.columns["numbers"][:, 0].tolist()) for split in data.splits.values()]
    assert not days[0] & days[1]
    assert not days[1] & days[2]
    assert max(days[0]) < min(days[1]) <= max(days[1]) < min(days[2])


def test_what_is_known_of_a_run_is_no_key(composed):
    config = composed("data=table", "data.path=a", "data.target=y", "+data.learned=3")
    with pytest.raises(ConfigError, match=r"data\.learned: it is known when a run is opened"):
        Plan.of(config)
