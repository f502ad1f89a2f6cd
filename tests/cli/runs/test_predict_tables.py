"""`runs predict` on CSV files: columns by name, the stored standardisation, bad rows by line."""

import csv
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_diabetes, load_wine
from torch import nn

from trainwright.data.dataset import DataInfo
from trainwright.data.images.decode import decode_image
from trainwright.data.sources.csv_rows import BadTableError, read_rows
from trainwright.engine.checkpoint import checkpoint

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def tables(train, tmp_path_factory):
    """An outputs folder with a run on wine (classes) and one on diabetes (values)."""
    root = tmp_path_factory.mktemp("tables")
    smoke = ("model=mlp", "model.widths=[8]", "trainer=smoke", "trainer.steps=20")
    smoke = (*smoke, "trainer.evaluate_every=20", "trainer.ema=null", "trainer.precision=fp32")
    train(root / "wine", *smoke, "data=tabular", "data.name=wine")
    train(root / "diabetes", *smoke, "data=diabetes")
    return root


def write(path, header, rows, delimiter=","):
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([*([header] if header else []), *rows])
    return path


def by_hand(root, name, rows):
    """The network's outputs by plain torch, from the checkpoint's tensors and facts alone."""
    path = root / name / "checkpoints" / "best.safetensors"
    tensors, metadata = checkpoint.load(path)
    facts = metadata["data"]["columns"]["inputs"]
    outputs = (torch.tensor(rows) - torch.tensor(facts["mean"])) / torch.tensor(facts["std"])
    for number in (1, 3):
        weight, bias = (tensors[f"task.model.layers.{number}.{k}"] for k in ("weight", "bias"))
        outputs = nn.functional.linear(outputs, weight, bias)
        outputs = outputs.relu() if number == 1 else outputs
    return outputs, metadata["data"]["columns"].get("targets")


def test_columns_are_found_by_name_whatever_their_order(call, tables, tmp_path):
    wine = load_wine()
    order = np.random.RandomState(0).permutation(13)
    header = ["id", *np.array(wine.feature_names)[order]]
    rows = [[f"bottle {i}", *wine.data[i, order]] for i in (0, 70, 150)]
    path = write(tmp_path / "wine.csv", header, rows, delimiter=";")
    code, out, err = call("predict", "wine", path, "--csv", f"--root={tables}")
    assert (code, err) == (0, "")
    found = list(csv.DictReader(io.StringIO(out)))
    assert [row["line"] for row in found] == ["2", "3", "4"]
    outputs, facts = by_hand(tables, "wine", wine.data[[0, 70, 150]].astype(np.float32))
    shares = outputs.softmax(dim=1)
    told = [[float(row[name]) for name in facts["names"]] for row in found]
    np.testing.assert_allclose(told, shares.numpy(), rtol=1e-4, atol=1e-6)
    names = [facts["names"][i] for i in shares.argmax(dim=1)]
    assert [row["class"] for row in found] == names


def test_values_come_in_their_own_unit_and_bare_rows_in_their_order(call, tables, tmp_path):
    data = load_diabetes(scaled=False).data[:3].astype(np.float32)
    path = write(tmp_path / "bare.tsv", None, data.tolist(), delimiter="\t")
    code, out, _ = call("predict", "diabetes", path, "--jsonl", f"--root={tables}")
    assert code == 0
    outputs, facts = by_hand(tables, "diabetes", data)
    expected = outputs[:, 0] * facts["std"][0] + facts["mean"][0]
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["line"] for row in rows] == [1, 2, 3]
    np.testing.assert_allclose([row["value"] for row in rows], expected.numpy(), rtol=1e-4)


def test_bad_rows_are_named_by_line_and_column_after_the_others(call, tables, tmp_path):
    data = load_diabetes(scaled=False)
    names = data.feature_names
    rows = [[str(v) for v in row] for row in data.data[:4]]
    rows[1][names.index("bmi")] = "unknown"
    rows[2] = rows[2][:-1]
    rows[3][0] = "nan"
    path = write(tmp_path / "people.csv", names, rows)
    code, out, err = call("predict", "diabetes", path, f"--root={tables}", "--csv")
    assert code == 3
    assert len(out.splitlines()) == 2
    assert f"{path},2," in out
    assert "3 of 4 rows" in err
    assert "people.csv:3: bmi is 'unknown'" in err
    assert "people.csv:4: s6 is missing" in err
    assert "people.csv:5: age is 'nan'" in err
    code, again, err = call("predict", "diabetes", path, "on_bad=skip", f"--root={tables}", "--csv")
    assert (code, again) == (0, out)
    assert "skipped 3 of 4 rows" in err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("a,b\n1,2\n", "no column c; did you mean"),
        ("a,b,c,b\n1,2,3,4\n", "two columns are called b"),
        ("1,2\n", "2 columns, and the run has learned from 3"),
        ("1,2,3,4\n", "name them in a first line"),
        ('a,b,"c\n1,2,3\n', "no CSV file"),
        (b"a,b,c\n\xff\xfe,2,3\n", "no CSV file"),
    ],
)
def test_what_is_no_such_table_is_said(text, problem, tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadTableError) as refused:
        list(read_rows(path, ("a", "b", "c"), is_named=True))
    assert problem.split("; did")[0] in str(refused.value)


def test_what_spreadsheets_write_is_read(tmp_path):
    """A mark before the first name, quoted cells, empty lines, and numbers with blanks around."""
    path = tmp_path / "x.csv"
    path.write_bytes(b'\xef\xbb\xbf"a";"b"\r\n\r\n" 1";2e0 \r\n')
    (row,) = read_rows(path, ("b", "a"), is_named=True)
    assert (row.line, row.cells) == (3, ["2e0", "1"])


@pytest.mark.parametrize("head", ["a,b\n", "", "b,c,a\n"], ids=["names", "none", "more names"])
def test_a_row_of_more_cells_than_the_first_line_is_not_guessed_at(head, tmp_path):
    """Decimal commas, or R's table with a name before each row: its columns lie elsewhere."""
    path = tmp_path / "x.csv"
    width = head.count(",") + 1 if head else 2
    good = ",".join("1234"[:width])
    path.write_text(f"{head}{good}\n{good},\n{good},5\n")
    found = list(read_rows(path, ("a", "b"), is_named=bool(head)))
    assert [not row.problem for row in found] == [True, True, False]
    assert found[2].problem == f"{width + 1} cells, and the first line has {width}"


def test_a_table_for_a_run_of_images_and_the_reverse_are_named(call, tables, real_root, tmp_path):
    path = write(tmp_path / "x.csv", None, [[1, 2]])
    code, _, err = call("predict", "mlp", path, f"--root={real_root}")
    assert code == 3
    assert "not a PNG, JPEG or WebP image" in err
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    code, _, err = call("predict", "wine", tmp_path / "x.png", f"--root={tables}")
    assert code == 3
    assert "x.png: no CSV file" in err


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_images_that_are_not_square_are_prepared_to_the_shape_of_training(fit, tmp_path):
    """40 x 20 pixels, left half white, brought to 12 high and 8 wide."""
    picture = Image.new("L", (40, 20))
    picture.paste(255, (0, 0, 20, 20))
    picture.save(tmp_path / "x.png")
    array = decode_image(tmp_path / "x.png", size=(12, 8), channels=1, fit=fit)[0]
    assert array.shape == (12, 8)
    filled = array[4:8] if fit == "pad" else array
    assert (filled[:, :3] > 200).all()
    assert (filled[:, 5:] < 55).all()
    assert (array[:4].max(), array[8:].max()) == (0, 0) or fit != "pad"


def test_a_run_of_pictures_that_are_not_square_predicts(call, assembled, real_root, tmp_path):
    """A run on images of 6 x 8 pixels, made of the one on 8 x 8 by leaving two lines out."""
    config_of = checkpoint.load(next(real_root.glob("*/*mlp*/checkpoints/best.safetensors")))
    tensors, metadata = config_of
    for name, tensor in tensors.items():
        if tensor.shape[-1:] == (64,):
            tensors[name] = tensor[:, :48].contiguous()
    metadata.pop("format")
    metadata["data"]["columns"]["inputs"] |= {"size": [1, 6, 8]}
    run = tmp_path / "outputs" / "flat"
    (run / "checkpoints").mkdir(parents=True)
    (run / "summary.json").write_text("{}")
    checkpoint.save([run / "checkpoints" / "best.safetensors"], tensors, metadata)
    pixels = np.random.RandomState(0).randint(0, 256, (6, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    code, out, _ = call("predict", run, tmp_path / "x.png", "--csv")
    assert code == 0
    facts = DataInfo.of_plain(metadata["data"]).input
    layers = {n: t.float() for n, t in tensors.items()}
    layers |= {f"task.{n.removeprefix('averaged.')}": t for n, t in tensors.items()
               if n.startswith("averaged.")}  # fmt: skip
    outputs = (torch.from_numpy(pixels).flatten() / 255 - facts.mean[0]) / facts.std[0]
    for number in (1, 3):
        weight, bias = (layers[f"task.model.layers.{number}.{k}"] for k in ("weight", "bias"))
        outputs = nn.functional.linear(outputs, weight, bias)
        outputs = outputs.relu() if number == 1 else outputs
    told = [float(v) for v in out.splitlines()[1].split(",")[3:]]
    np.testing.assert_allclose(told, outputs.softmax(dim=0).numpy(), atol=5e-3)  # bf16


@pytest.mark.timeout(20)
def test_a_table_of_ten_million_columns_is_refused_at_once(tmp_path):
    path = tmp_path / "wide.csv"
    for lines in (["1," * 10_000_000], ["a,b,c", "1," * 10_000_000]):
        path.write_text("\n".join(lines))
        with pytest.raises(BadTableError, match="a line has more than 1,048,576 letters"):
            list(read_rows(path, ("a", "b", "c"), is_named=True))


@pytest.mark.timeout(20)
def test_a_name_is_looked_for_among_very_many_columns(tmp_path):
    path = tmp_path / "wide.csv"
    head = [f"column{number}" for number in range(50_000)]
    path.write_text(",".join(head))
    with pytest.raises(BadTableError, match="no column colunm5; did you mean column5"):
        list(read_rows(path, ("column1", "colunm5", "c"), is_named=True))
    assert list(read_rows(path, head[::50], is_named=True)) == []
