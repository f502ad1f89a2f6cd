"""What needs a package of an extra says so, and which."""

import sys

import pytest

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
