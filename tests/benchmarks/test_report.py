"""The report's figures, against ones worked out by hand."""

import json

RATES = {"ours": [300.0, 100.0, 210.0], "bare": [100.0, 50.0, 210.0], "keras": [50.0, 20.0, 30.0]}
COMMON = {
    "source": "abc",
    "date": "2026-01-01 00:00",
    "commit": "def",
    "machine": "a machine",
    "versions": {"python": "3.11"},
    "data": "MNIST",
}
TURNS = {"kind": "turns", "work": "mlp64", "setting": "fp32", "images_per_second": RATES}


def whole(side, round_, seconds):
    facts = {"kind": "whole", "work": "mlp64", "setting": "fp32", "side": side, "round": round_}
    outcome = {"seconds": seconds, "peak_mb": 400.0, "score": {"accuracy": 0.9731}}
    return {**facts, **outcome, "images": 55_000, **COMMON}


def written(folder, *records):
    import report

    results = folder / "results.jsonl"
    results.write_text("".join(json.dumps(record) + "\n" for record in records))
    report.write(results, folder)
    return (folder / "RESULTS.md").read_text()


def test_ratios_are_of_neighbouring_turns(tmp_path):
    """Turn by turn ours is 3, 2 and 1 times the bare loop: 2 in the middle, not 210 / 100."""
    text = written(tmp_path, {**TURNS, **COMMON})
    assert "| bare loop | 2.00 (1.00 to 3.00) |" in text
    assert "| Keras (torch) | 6.00 (5.00 to 7.00) |" in text
    assert "| **trainwright** | **210** |" in text
    assert (tmp_path / "speed.png").stat().st_size > 0


def test_whole_processes_are_compared_within_their_round(tmp_path):
    records = [whole("ours", 0, 5.0), whole("bare", 0, 10.0)]
    records += [whole("bare", 1, 20.0), whole("ours", 1, 20.0)]
    text = written(tmp_path, *records)
    assert "| bare loop | 15.0 | 0.75 (0.50 to 1.00) | 400 | 97.31% |" in text


def test_results_of_another_state_of_the_source_are_left_out(tmp_path):
    old = {**whole("bare", 0, 1.0), "source": "old"}
    text = written(tmp_path, old, whole("ours", 0, 5.0))
    assert "bare loop |" not in text.split("## Whole process")[1]
