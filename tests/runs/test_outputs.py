from selectnet_tf.runs import outputs


def test_table_lines_up():
    row = {"method": "context", "accuracy": 0.5, "major_accuracy": 1, "macro_f1": 0.4}
    # the second is a collapsed class, the third empty in runs.csv
    for minor, shown in ((0.25, "0.2500"), (0.0, "0.0000"), ("", "nan")):
        header, line = outputs.format_results(row | {"minor_accuracy": minor}).splitlines()
        assert line.split() == ["context", "0.5000", shown, "1.0000", "0.4000"]
        assert line.index(shown) == header.index("minor accuracy")
