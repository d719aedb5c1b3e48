from selectnet_tf.runs import outputs


def test_table_lines_up():
    rows = [
        {"method": m, "accuracy": 0.5, "minor_accuracy": 0.25, "major_accuracy": 1, "macro_f1": 0.4}
        for m in ("context", "self_paced")
    ]
    lines = outputs.format_results(rows).splitlines()
    for minor, shown in (("", "nan"), (0.0, "0.0000")):  # empty in runs.csv; a collapsed class
        line = outputs.format_results([rows[0] | {"minor_accuracy": minor}]).splitlines()[1]
        assert line.split()[2] == shown
    assert lines[1].split() == ["context", "0.5000", "0.2500", "1.0000", "0.4000"]
    assert len({len(line) for line in lines}) == 1
