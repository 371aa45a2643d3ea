"""Where values fall: every row in one bin, bins that later windows cannot move."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen.monitor.binning import CATEGORIES, KNOWN, bins_of, canonical, place

numbers = st.lists(st.floats(allow_nan=True, allow_infinity=False, width=32), min_size=1, max_size=200)


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
    codes = place(bins, np.array([0.0, np.nextafter(0, 1), np.nextafter(0, -1)]))
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
    assert bins.known is None
    assert place(bins, np.array(["new"], dtype=object)).tolist() == [CATEGORIES]
    assert bins.novelty == 1.0


@pytest.mark.parametrize(
    ("label", "spelling"), [("2.0", "2"), ("-3.00", "-3"), ("2.5", "2.5"), ("02", "02"), ("a.0", "a.0"), ("1.", "1")]
)
def test_one_category_has_one_spelling(label, spelling):
    assert canonical(label) == spelling
