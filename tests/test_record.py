import pandas as pd

from selectnet_tf import record


def test_rows_are_replaced_by_name_and_others_kept_to_the_letter(tmp_path):
    record.write_row(tmp_path, "a", {"name": "a", "accuracy": 0.1 + 0.2, "beta": None})
    record.write_row(tmp_path, "b", {"name": "b", "accuracy": 0.5, "extra": 1})
    record.write_row(tmp_path, "a", {"name": "a", "accuracy": 0.7, "beta": 0.5})
    rows = record.read_rows(tmp_path)
    assert rows.to_dict("records") == [
        {"name": "b", "accuracy": "0.5", "beta": "", "extra": "1"},
        {"name": "a", "accuracy": "0.7", "beta": "0.5", "extra": ""},
    ]
    record.write_row(tmp_path, "b")
    assert list(pd.read_csv(tmp_path / "runs.csv")["name"]) == ["a"]


def test_floats_lose_nothing(tmp_path):
    record.write_row(tmp_path, "a", {"name": "a", "accuracy": 0.1 + 0.2})
    record.write_row(tmp_path, "b", {"name": "b", "accuracy": 1 / 3})
    assert [float(v) for v in record.read_rows(tmp_path)["accuracy"]] == [0.1 + 0.2, 1 / 3]


def test_table_lines_up():
    rows = [{"method": m, "accuracy": 0.5, "minor_accuracy": 0.25, "major_accuracy": 1, "macro_f1": 0.4} for m in ("context", "self_paced")]
    lines = record.table(rows).splitlines()
    assert lines[1].split() == ["context", "0.5000", "0.2500", "1.0000", "0.4000"] and len({len(line) for line in lines}) == 1


def test_durations():
    assert [record._duration(s) for s in (5, 65, 3600 * 3 + 125)] == ["0 min 05 s", "1 min 05 s", "3 h 02 min"]
