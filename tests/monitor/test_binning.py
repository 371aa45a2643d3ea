"""Where values fall: every row in one bin, bins that later windows cannot move."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen.monitor.columns.binning import CATEGORIES, KNOWN, LEAST, bins_of, canonical, place, tally

numbers = st.lists(
    st.floats(-(2.0**126), 2.0**126, width=32) | st.just(np.nan) | st.sampled_from([0.0, 1.0, 2.5]),
    min_size=1,
    max_size=200,
)


@given(numbers, numbers)
def test_every_number_has_one_bin_and_only_strangers_fall_outside(reference, later):
    reference, later = np.array(reference), np.array(later)
    bins = bins_of("number", reference)
    inside = np.bincount(place(bins, reference), minlength=bins.size)
    assert inside.sum() == len(reference)
    assert inside[-1] == np.isnan(reference).sum()
    known = reference[~np.isnan(reference)]
    if len(known):
        assert (bins.low, bins.high) == (known.min(), known.max())
        assert inside[:2].sum() == inside[-3:-1].sum() == 0
        found = np.bincount(place(bins, later), minlength=bins.size)
        assert found[:2].sum() == np.sum(later < known.min())
        assert found[-3:-1].sum() == np.sum(later > known.max())


@given(numbers, numbers)
def test_a_tally_counts_what_is_placed(reference, later):
    bins = bins_of("number", np.array(reference))
    for values in (np.array(reference), np.array([*later, np.inf, -np.inf, 1e300])):
        assert tally(bins, values).tolist() == np.bincount(place(bins, values), minlength=bins.size).tolist()


def test_a_tally_of_pieces_is_the_tally_of_all():
    rng = np.random.default_rng(0)
    values = rng.lognormal(0, 2, 50_000)
    values[rng.random(50_000) < 0.1] = np.nan
    bins = bins_of("number", values[:1000])
    assert tally(bins, values).tolist() == np.bincount(place(bins, values), minlength=bins.size).tolist()
    assert tally(bins, values[:0]).tolist() == [0] * bins.size
    assert tally(bins, values[::3]).sum() == len(values[::3])


def test_bins_of_a_smooth_column_weigh_alike():
    values = np.random.default_rng(0).standard_normal(32_000)
    bins = bins_of("number", values)
    assert np.bincount(place(bins, values), minlength=bins.size)[2:-3].tolist() == [1000] * 32


def test_far_is_as_far_again_as_the_range_is_wide():
    bins = bins_of("number", np.linspace(0.0, 10.0, 100))
    codes = place(bins, np.array([-10.1, -9.9, 19.9, 20.1, np.nan])).tolist()
    assert codes == [0, 1, bins.size - 3, bins.size - 2, bins.size - 1]


def test_a_heavy_value_has_its_own_bin():
    values = np.concatenate([np.zeros(500), np.random.default_rng(0).uniform(-1, 1, 500)])
    bins = bins_of("number", values)
    codes = place(bins, np.array([0.0, 1e-40, -1e-40]))
    assert len(set(codes.tolist())) == 3


def test_a_column_without_values_has_bins_all_the_same():
    bins = bins_of("number", np.full(5, np.nan))
    assert place(bins, np.array([np.nan, 1.0])).tolist() == [bins.size - 1, 0]


def test_categories_are_known_common_rare_unseen_or_missing():
    values = np.array([f"v{i}" for i in range(CATEGORIES + 5) for _ in range(100 - i)] + [""], dtype=object)
    bins = bins_of("category", values)
    found = place(bins, np.array(["v0", "v62", "v63", "new", "", " v0 "], dtype=object)).tolist()
    assert found == [0, 62, CATEGORIES, CATEGORIES + 1, CATEGORIES + 2, 0]


def test_too_many_labels_are_not_remembered_and_none_is_unseen():
    bins = bins_of("category", np.array([str(i) for i in range(KNOWN + 1)], dtype=object))
    assert (bins.known, bins.labels, bins.novelty) == (None, (), 1.0)
    assert place(bins, np.array(["new", "7"], dtype=object)).tolist() == [0, 0]


def test_a_label_needs_some_rows_for_a_bin_of_its_own_and_a_rare_new_one_counts_with_the_rare():
    bins = bins_of("category", np.array(["a"] * LEAST + ["b"] * (LEAST - 1), dtype=object))
    assert (bins.labels, bins.known) == (("a",), ("b",))
    counts = tally(bins, np.array(["a", "b", "new", "newer", ""], dtype=object))
    assert counts.tolist() == [1, 1, 2, 1]
    assert bins.compared(counts).tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("label", "spelling"), [("2.0", "2"), ("-3.00", "-3"), ("2.5", "2.5"), ("02", "02"), ("a.0", "a.0"), ("1.", "1")]
)
def test_one_category_has_one_spelling(label, spelling):
    assert canonical(label) == spelling
