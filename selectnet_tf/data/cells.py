"""Cells of a table -> numbers, days or texts, column by column."""

import functools
import re
import unicodedata
from numbers import Number

import numpy as np
import pandas as pd

WORDS = ("", "NA", "N/A", "n/a", "na", "#N/A", "#NA", "<NA>", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None", "#NULL!")  # no value
BOOLS = {"TRUE": "True", "true": "True", "FALSE": "False", "false": "False"}  # pandas reads them so where a column holds no more
NEARLY_ALL = 0.9  # a column is one of numbers where so many of its cells that hold something are numbers
_ISO = r"\d{4}[-/]\d{1,2}[-/]\d{1,2}([T ].*)?"
_AMBIGUOUS = r"\d{1,2}[-/.]\d{1,2}[-/.](\d{2}|\d{4})([T ].*)?"
_WAYS = [(d, t) for d in ".," for t in ("", *".,'\u2019 \u00a0\u202f") if t != d]  # of writing numbers: (decimal, thousands)


def text(value: object) -> str:
    """A label or a category as it is compared: stripped, in Unicode's form NFC; a whole number has no decimals."""
    if isinstance(value, (float, np.floating)):
        return str(int(value)) if np.isfinite(value) and value == int(value) else str(value)
    found = unicodedata.normalize("NFC", str(value)).strip()
    whole, point, rest = found.partition(".")
    return whole if point and not rest.strip("0") and whole.lstrip("+-").isdecimal() else found


def label(value: object) -> str:
    """A class's name, as `text`; empty where a cell holds nothing. A class may be called None, NA or null."""
    return "" if pd.isna(value) else text(value)  # type: ignore[call-overload]


def shown(column: pd.Series, decimal: str) -> list[str]:
    """[n] what people see of cells, and what is the same value again where they are read with this decimal."""
    return ["" if gone else _written(value, decimal) for value, gone in zip(column, column.isna(), strict=True)]


def _written(value: object, decimal: str) -> str:
    return str(value).replace(".", decimal) if _is_number(value) else str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, Number) and not isinstance(value, bool)


def texts(column: pd.Series) -> pd.Series:
    """[n] texts, None where there is no value."""
    codes, values = _distinct(column)
    names = [None if (name := text(value)) in WORDS else BOOLS.get(name, name) for value in values]
    return pd.Series(np.array([*names, None], object)[codes], column.index, dtype=object)


def filled(column: pd.Series) -> np.ndarray:
    """[n] bool: whether a cell holds a value."""
    if _stamped(column) or plain(column):
        return column.notna().to_numpy(bool)
    codes, values = _distinct(column)
    return np.array([*(str(value).strip() not in WORDS for value in values), False])[codes]


def _distinct(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """([n] places in what follows, -1 where a cell is empty; the different values as objects). Raises ValueError where cells are lists."""
    try:
        codes, values = pd.factorize(column)
    except TypeError:  # they can't be told apart
        name = column.name
        raise ValueError(f"column {name!r} holds lists or the like, no numbers or texts: give --ignore_columns={name}") from None
    return codes, np.asarray(values, object)


def _stamped(column: pd.Series) -> bool:
    return pd.api.types.is_datetime64_any_dtype(column)


def plain(column: pd.Series) -> bool:
    """Whether pandas read numbers and nothing else."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def numbers(column: pd.Series, decimal: str = ".", thousands: str | None = None) -> np.ndarray:
    """[n] float64, NaN where a cell is no finite number."""
    if plain(column):
        values = column.to_numpy(np.float64, na_value=np.nan)
    elif _stamped(column):
        values = np.full(len(column), np.nan)
    else:
        codes, distinct = _distinct(column)
        words = pd.Series([value if _is_number(value) else _plain(str(value), decimal, thousands) for value in distinct], dtype=object)
        values = np.append(pd.to_numeric(words, errors="coerce").to_numpy(np.float64), np.nan)[codes]
    return np.where(np.isfinite(values), values, np.nan)


@functools.cache
def _grouped(decimal: str, thousands: str) -> re.Pattern[str]:
    """Numbers whose thousands stand in groups of three digits."""
    mark, point = re.escape(thousands), re.escape(decimal)
    return re.compile(rf"[-+]?[1-9]\d{{0,2}}({mark}\d{{3}})+({point}\d*)?")


def _plain(word: str, decimal: str, thousands: str | None) -> str:
    """A number as Python writes it; empty where `thousands` separates anything else than groups of three digits, as in a date."""
    word = word.strip()
    if thousands and thousands in word:
        word = word.replace(thousands, "") if _grouped(decimal, thousands).fullmatch(word) else ""
    return word.replace(decimal, ".")


def days(column: pd.Series) -> np.ndarray:
    """[n] float64, days since 1970, NaN where a cell is no date."""
    if _stamped(column):
        return _since_1970(column)
    codes, distinct = _distinct(column)
    words = pd.Series([str(value).strip().replace("/", "-") for value in distinct], dtype=object)
    return np.append(_since_1970(pd.to_datetime(words, errors="coerce", format="ISO8601", utc=True)), np.nan)[codes]


def _since_1970(stamps: pd.Series) -> np.ndarray:
    if stamps.dt.tz is not None:
        stamps = stamps.dt.tz_convert("UTC").dt.tz_localize(None)
    moments = stamps.to_numpy("datetime64[us]")
    return np.where(np.isnat(moments), np.nan, moments.astype(np.float64) / 86400e6)


def kind(name: str, columns: list[pd.Series], decimal: str = ".", thousands: str | None = None) -> str:
    """What a column holds over all tables: "number", "date", "text", or "empty".

    Raises:
        ValueError: dates of which nobody can tell day from month, or commas and points that mean something else in numbers than these two
            say: names the column and the cure.
    """
    held = [column[filled(column)] for column in columns]
    count = sum(map(len, held))
    if not count:
        return "empty"
    if all(plain(column) for column in held):
        return "number"
    if sum(np.isfinite(numbers(column, decimal, thousands)).sum() for column in held) >= NEARLY_ALL * count:
        _check_points(name, held, decimal, thousands)
        return "number"
    if _like(held, _ISO, count) and sum(np.isfinite(days(column)).sum() for column in held if not plain(column)) >= NEARLY_ALL * count:
        return "date"
    example = next(str(column.iloc[0]) for column in held if len(column))
    if _like(held, _AMBIGUOUS, count):
        raise ValueError(
            f"column {name!r} holds dates such as {example}, and in some of that form nobody can tell the day from the month: "
            f"write them as 2021-04-30, or give --ignore_columns={name}"
        )
    _check_marks(name, held, count, decimal, thousands)
    return "text"


def _check_marks(name: str, held: list[pd.Series], count: int, decimal: str, thousands: str | None) -> None:
    """Raises ValueError where nearly all of the `count` cells of what would be texts are numbers, written in another way than is given."""
    given = (decimal, thousands or "")
    ways = [way for way in _WAYS if way != given and _like(held, _written_so(*way), count)]
    ways = [way for way in ways if not way[1] or (way[0], "") not in ways]  # no thousands where there are none
    ways = [way for way in ways if way[0] == decimal or (decimal, way[1]) not in ways]
    marked = [word for word in _words(held) if not re.fullmatch("[-+]?[0-9]+", word)]
    if ways and (marked := [word for word in marked if any(_written_so(*way).fullmatch(word) for way in ways)]):
        flags = " or ".join(_flags(*way, decimal, thousands) for way in ways)
        raise ValueError(f"column {name!r} holds numbers such as {marked[0]}: give {flags} (or --text_columns={name})")
    commas = [word for word in marked if _written_so(",", "").fullmatch(word)]
    if commas and decimal == "." and _like(held, re.compile(r"[-+]?[0-9]+([.,][0-9]+)?"), count):
        cure = f"write them alike, or give {_flags(',', '', decimal, thousands)} (or --text_columns={name})"
        raise ValueError(f"column {name!r} holds numbers such as {commas[0]} beside others with a point: {cure}")


def _words(columns: list[pd.Series]) -> list[str]:
    """The different texts in what pandas read neither as numbers nor as dates."""
    mixed = [column for column in columns if not _stamped(column) and not plain(column)]
    return [str(value).strip() for column in mixed for value in _distinct(column)[1] if not _is_number(value)]


@functools.cache
def _written_so(decimal: str, thousands: str) -> re.Pattern[str]:
    """Numbers that are written in this way, to the last mark."""
    whole = rf"[0-9]+|[1-9][0-9]{{0,2}}({re.escape(thousands)}[0-9]{{3}})+" if thousands else "[0-9]+"
    return re.compile(rf"[-+]?({whole})({re.escape(decimal)}[0-9]+)?")


def _flags(decimal: str, thousands: str, given: str, separated: str | None) -> str:
    """What has to be given for numbers that are written so, beside what is given."""
    words = [f"--decimal={decimal}"] if decimal != given else []
    if thousands != (separated or ""):
        words.append(f'--thousands="{thousands}"' if thousands in "' \u00a0\u202f" else f"--thousands={thousands}")
    return " ".join(words)


def _check_points(name: str, columns: list[pd.Series], decimal: str, thousands: str | None) -> None:
    """Raises ValueError where, under a decimal comma, all points in a column of numbers stand before groups of three digits."""
    words = _words(columns) if decimal == "," and not thousands else []
    points = [word for word in words if re.fullmatch(r"[-+]?[0-9]*(\.[0-9]+)+(,[0-9]+|[eE][-+]?[0-9]+)?", word)]
    if points and all(_written_so(",", ".").fullmatch(word) for word in points):
        whole = points[0].replace(".", "")
        raise ValueError(f"column {name!r} holds {points[0]}: give --thousands=. if it means {whole}, or write it with a decimal comma")


def _like(columns: list[pd.Series], pattern: str | re.Pattern[str], count: int) -> bool:
    """Whether nearly all of `count` cells that hold something are like the pattern, of a date or of a number."""
    found, numeral = 0, pattern not in (_ISO, _AMBIGUOUS)
    for column in columns:
        if _stamped(column):
            found += len(column) if pattern == _ISO else 0
        elif plain(column):
            found += len(column) if numeral else 0
        else:
            codes, values = _distinct(column)
            like = [(numeral and _is_number(value)) or bool(re.fullmatch(pattern, str(value).strip())) for value in values]
            found += int(np.array(like, bool)[codes].sum())
    return found >= NEARLY_ALL * count
