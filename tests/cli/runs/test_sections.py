"""One section of a config read by itself is that of the whole, or the whole is read."""

import pytest
import yaml
from omegaconf import OmegaConf

from trainwright.config_folder import config_folder, group_options
from trainwright.runs.record import Record
from trainwright.runs.stored import _only, read_yaml


@pytest.mark.parametrize("model", group_options("model"))
def test_each_section_of_a_run_config_is_that_of_the_whole(model, composed, tmp_path):
    config = OmegaConf.to_yaml(composed(f"model={model}", "run.dir=null"), resolve=True)
    path = tmp_path / "config.yaml"
    path.write_text(config)
    whole = read_yaml(path)
    for section, value in whole.items():
        assert read_yaml(path, section=section) == {section: value}, section
        assert len(_only(section, config)) < len(config)
    assert read_yaml(path, section="modell") == {}


@pytest.mark.parametrize(
    "text",
    [
        "a: {b: 1,\nc: 2}\n",  # a key of a at the first column
        'a: "x\ny: 1"\n',
        "a: 'x\nb: 2\nc: y'\n",
        "a: [1,\nb: 2,\nc: 3]\n",
        "a: &one [1]\nb: *one\n",
        "'a': 1\nb: 2\n",
        "? a\n: 1\n",
        "--- \na: 1\n",
        "{a: 1}\n",
        "a: 1\r\nb: 2\r\n",
        "a: |\n  text\n  b: 2\nb: 3\n",
        "a:\n- 1\n- b: 2\nb: 3\n",
        "# a comment\na: 1 # and another\n\nb: 2\n",
        "a: 1\nb: 2\na: 3\n",
        "a: x\n b: y\nb: 3\n",
    ],
)
def test_what_is_not_plain_to_see_is_read_whole_or_as_the_whole_has_it(text, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(text.encode())
    try:
        whole = yaml.safe_load(text)
    except yaml.YAMLError:
        assert Record(tmp_path).setting("a", "none") in ("none", 1)
        return
    for key in ("a", "b"):
        found = read_yaml(path, section=key)
        assert found.get(key) == whole.get(key), key


def test_the_shipped_configs_too(tmp_path):
    for path in config_folder().rglob("*.yaml"):
        whole = read_yaml(path)
        for key, value in whole.items():
            assert read_yaml(path, section=str(key)).get(key) == value, f"{path} {key}"
