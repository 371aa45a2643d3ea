"""The report of a comparison: self-contained, escaped, and with a picture of every column that was compared."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen.loop.compare import walk
from kaizen.monitor.columns.binning import bins_of, tally
from kaizen.monitor.report.pictures import CELLS, picture
from kaizen.monitor.report.report import html


def tables(rng):
    kinds = np.array(["a", "<b>", "c & d"], object)
    old = {"x <i>": rng.standard_normal(800), "kind": rng.choice(kinds, 800), "same": rng.random(800)}
    new = {"x <i>": rng.standard_normal(500) + 2, "kind": rng.choice(kinds, 500), "same": rng.random(500)}
    return old, new


def test_it_is_one_page_that_needs_nothing_from_elsewhere():
    page = html(*walk(*tables(np.random.default_rng(1))))
    assert page.startswith("<!doctype html>")
    assert not re.search(r"(src|href)\s*=\s*[\"']?(http|//)|<script|@import", page)
    assert "1 of 3 columns changed: x &lt;i&gt;." in page
    assert "<b>" not in page
    assert page.count('class="small"') == 3
    assert "All columns together" in page


def test_a_calm_comparison_says_so():
    rng = np.random.default_rng(2)
    page = html(*walk({"a": rng.random(500)}, {"a": rng.random(400)}))
    assert "No change that matters in 1 columns of 400 rows." in page
    assert "What changed" not in page


@given(
    st.lists(st.floats(-1e30, 1e30) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=80),
    st.lists(st.floats(-1e30, 1e30) | st.just(np.nan), max_size=80),
)
def test_a_picture_of_numbers_shows_all_of_them(before, now):
    bins = bins_of("number", np.array(before))
    counts = tally(bins, np.array(now))
    seen = picture(bins, tally(bins, np.array(before)).tolist(), counts.astype(float))
    assert len(seen.before) == len(seen.now) == CELLS
    assert sum(seen.before) == pytest.approx(1.0)
    known = counts[:-1].sum()
    assert sum(seen.now) == pytest.approx(1.0 if known else 0.0)
    assert min(seen.before) >= 0


def test_a_picture_of_labels_has_the_largest_first():
    values = np.array(["a"] * 6 + ["b"] * 10 + ["rare"], object)
    bins = bins_of("category", values)
    seen = picture(bins, tally(bins, values).tolist(), tally(bins, np.array(["new"] * 5, object)).astype(float))
    assert seen.labels == ["others", "b", "a"]
    assert seen.now == [1.0, 0.0, 0.0]
