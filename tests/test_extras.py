"""What needs a package of an extra says so, and which."""

import json
import sys

import pytest

from trainwright import errors
from trainwright.data.tables.reader import Table
from trainwright.data.text.corpus import corpus_at
from trainwright.data.text.library import the_library
from trainwright.errors import ConfigError
from trainwright.sweep.settings import need_optuna


@pytest.mark.parametrize(
    ("package", "extra", "use"),
    [
        ("pyarrow", "table", lambda file: list(Table(file).records())),
        ("pyarrow", "table", lambda file: list(corpus_at(str(file), "text").pieces())),
        ("tokenizers", "text", lambda _: the_library()),
        ("optuna", "sweep", lambda _: need_optuna("tpe")),
        ("cmaes", "sweep", lambda _: need_optuna("cmaes")),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_its_extra(
    package, extra, use, tmp_path, monkeypatch
):
    file = tmp_path / "a.parquet"
    file.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"{package}.*\n  pip install .*\[{extra}\]'"):
        use(file)


def test_an_extra_comes_from_where_the_package_has_come_from(tmp_path, monkeypatch):
    checkout, site = tmp_path / "my checkout", tmp_path / "site"
    checkout.mkdir()
    (info := site / "trainwright-9.dist-info").mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trainwright\nVersion: 9\n")
    monkeypatch.setattr(errors, "__file__", str(site / "trainwright" / "errors.py"))
    monkeypatch.syspath_prepend(str(site))
    assert errors.install("sweep") == "pip install 'trainwright[sweep]'"
    (info / "direct_url.json").write_text(json.dumps({"url": checkout.as_uri(), "dir_info": {}}))
    assert errors.install("sweep") == f"pip install '{checkout}[sweep]'"
    checkout.rmdir()
    assert errors.install("sweep") == "pip install 'trainwright[sweep]'"
