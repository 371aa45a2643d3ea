"""What is watched of a column: its values, or, where values have no distribution to speak of, what is read off them.

| column                    | parts                                                                          |
|---------------------------|--------------------------------------------------------------------------------|
| number, category, boolean | the values                                                                     |
| time                      | hour of the day; age at the row's own time; weekday where weeks are whole      |
| text                      | length, words; shares of digits, capitals, symbols, letters beyond ASCII, and  |
|                           | of words that the reference does not use                                       |

A time always moves and a text hardly repeats: compared as they are, each would be new.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import ColumnType
from kaizen.graph.frame import MISSING_TIME

Float: TypeAlias = NDArray[np.float64]

VALUES = ""  # the part that is the column itself
HOUR, WEEKDAY, AGE = "hour", "weekday", "age in days"
UNKNOWN_WORDS = "unknown words"
VOCABULARY = 4000  # words of the reference that are remembered, the commonest
_LEAST_TEXTS = 2  # other texts of the reference that a word is in to be known
_HOUR_US, _DAY_US = 3_600_000_000, 86_400_000_000
_WORD = re.compile(r"\w+")


class Part(NamedTuple):
    """A part of a column, as what type it is compared, and its values (rows,)."""

    name: str
    type: ColumnType
    values: NDArray[Any]


def parts_of(
    type_: ColumnType,
    values: NDArray[Any],
    *,
    times: NDArray[np.int64] | None = None,
    vocabulary: frozenset[str] = frozenset(),
    whole_weeks: bool = False,
) -> list[Part]:
    """Return the parts of a column's values.

    Parameters
    ----------
    values
        As in a frame, shape (rows,).
    times
        The rows' own times, microseconds since 1970, shape (rows,); None: not known.
    vocabulary
        The words that the reference of a text uses.
    whole_weeks
        Whether the rows cover weeks enough for their weekdays to be compared.
    """
    if type_ == "time":
        return _of_times(values, times, whole_weeks=whole_weeks)
    if type_ == "text":
        return _of_texts(values, vocabulary)
    return [Part(VALUES, type_, values)]


class Vocabulary(NamedTuple):
    """The words of a reference: those known to a new text, and those known to one of its own.

    A word is known if two other texts have it. Were a text of the reference held against words that it brought itself,
    it would know more than any new one does.
    """

    words: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()


def vocabulary_of(texts: NDArray[Any]) -> Vocabulary:
    """Return the words that texts use, the commonest `VOCABULARY` of them."""
    found: Counter[str] = Counter()
    for text in texts.tolist():
        found.update(set(_WORD.findall(text.lower())))
    ranked = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:VOCABULARY]
    words = (frozenset(word for word, times in ranked if times >= least) for least in (_LEAST_TEXTS, _LEAST_TEXTS + 1))
    return Vocabulary(*words)


def _of_times(values: NDArray[Any], times: NDArray[np.int64] | None, *, whole_weeks: bool) -> list[Part]:
    moments = np.asarray(values, np.int64)
    missing = moments == MISSING_TIME
    parts = [Part(HOUR, "number", np.where(missing, np.nan, moments // _HOUR_US % 24))]
    if whole_weeks:
        parts.append(Part(WEEKDAY, "number", np.where(missing, np.nan, (moments // _DAY_US + 3) % 7)))
    if times is not None and not np.array_equal(times, moments):
        unknown = missing | (np.asarray(times) == MISSING_TIME)
        age = (np.where(unknown, 0, times) - np.where(unknown, 0, moments)) / _DAY_US
        parts.append(Part(AGE, "number", np.where(unknown, np.nan, age)))
    return parts


def _of_texts(values: NDArray[Any], vocabulary: frozenset[str]) -> list[Part]:
    texts = values.tolist()
    figures: Mapping[str, Float] = {
        "length": np.array([len(text) or np.nan for text in texts], np.float64),
        "words": np.array([len(text.split()) if text else np.nan for text in texts], np.float64),
        "digits": _share(texts, str.isdigit),
        "capitals": _share(texts, str.isupper),
        "symbols": _share(texts, _is_symbol),
        "beyond ASCII": _share(texts, _is_foreign),
    }
    parts = [Part(name, "number", figure) for name, figure in figures.items()]
    if vocabulary:
        unknown = np.array([_unknown(text, vocabulary) for text in texts], np.float64)
        parts.append(Part(UNKNOWN_WORDS, "number", unknown))
    return parts


def _share(texts: list[str], counts: Any) -> Float:
    """Return the share of each text's letters that count; NaN for an empty one."""
    return np.array([sum(map(counts, text)) / len(text) if text else np.nan for text in texts], np.float64)


def _is_symbol(letter: str) -> bool:
    return not (letter.isalnum() or letter.isspace())


def _is_foreign(letter: str) -> bool:
    return letter > "\x7f"


def _unknown(text: str, vocabulary: frozenset[str]) -> float:
    words = _WORD.findall(text.lower())
    return sum(word not in vocabulary for word in words) / len(words) if words else np.nan
