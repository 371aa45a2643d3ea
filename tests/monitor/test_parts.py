"""What is watched of times and texts: hours, ages, shares of letters, and words that nobody used."""

import numpy as np
import pytest

from kaizen.graph.frame import MISSING_TIME
from kaizen.monitor.columns.parts import parts_of, vocabulary_of

DAY, HOUR = 86_400_000_000, 3_600_000_000


def named(parts):
    return {part.name: part.values for part in parts}


def test_a_number_is_itself():
    values = np.array([1.0, np.nan])
    (part,) = parts_of("number", values)
    assert (part.name, part.type) == ("", "number")
    assert part.values is values


def test_a_time_has_an_hour_an_age_and_in_whole_weeks_a_weekday():
    moments = np.array([17 * HOUR, 4 * DAY + 2 * HOUR, MISSING_TIME])  # a Thursday at 17, a Monday at 2
    times = np.array([DAY, 4 * DAY, 4 * DAY])
    found = named(parts_of("time", moments, times=times, whole_weeks=True))
    assert found["hour"].tolist()[:2] == [17.0, 2.0]
    assert found["weekday"].tolist()[:2] == [3.0, 0.0]
    assert found["age in days"].tolist()[:2] == pytest.approx([7 / 24, -2 / 24])
    assert all(np.isnan(values[2]) for values in found.values())
    assert list(named(parts_of("time", moments))) == ["hour"]
    assert list(named(parts_of("time", moments, times=moments))) == ["hour"], "its own time has no age"


def test_a_text_is_measured():
    found = named(parts_of("text", np.array(["Call 555!", "naïve AND", ""], object)))
    assert found["length"].tolist()[:2] == [9.0, 9.0]
    assert found["words"].tolist()[:2] == [2.0, 2.0]
    assert found["digits"][0] == pytest.approx(3 / 9)
    assert found["symbols"][0] == pytest.approx(1 / 9)
    assert found["capitals"][1] == pytest.approx(3 / 9)
    assert found["beyond ASCII"][1] == pytest.approx(1 / 9)
    assert all(np.isnan(values[2]) for values in found.values())


def test_a_word_is_known_if_two_other_texts_have_it():
    texts = np.array(["red apple", "red pear", "red plum", "green apple"], object)
    words = vocabulary_of(texts)
    assert words.words == {"red", "apple"}
    assert words.own == {"red"}
    found = named(parts_of("text", np.array(["Red apple pie", "pie"], object), vocabulary=words.words))
    assert found["unknown words"].tolist() == pytest.approx([1 / 3, 1.0])
