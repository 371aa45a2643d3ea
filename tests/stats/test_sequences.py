"""Anytime-valid evidence on block means: exact over all signs, blind to scale, and a sequence that covers."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen.stats.sequences import symmetry_bounds, symmetry_path, two_sided_path

sizes = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=9)


@given(sizes)
def test_e_values_average_to_one_over_all_signs(blocks):
    # Given the sizes, symmetry makes every pattern of signs equally likely: the mean is 1 exactly, whatever the sizes.
    signs = np.array(list(product((-1.0, 1.0), repeat=len(blocks))))
    assert np.exp(symmetry_path(signs * np.array(blocks))[:, -1]).mean() == pytest.approx(1.0, rel=1e-9)


@given(sizes, st.sampled_from([1e-200, 1e-6, 7.0, 1e150]))
def test_scale_changes_nothing(blocks, factor):
    x = np.array(blocks) * np.resize([1.0, 1.0, -1.0], len(blocks))
    assert symmetry_path(x * factor) == pytest.approx(symmetry_path(x), rel=1e-9, abs=1e-9)


def test_first_block_tells_only_its_sign():
    # 1 + tanh(effect), averaged over the effects 0.25, 0.5, 1, 2: the block stands at 1 of its own scale.
    expected = np.log(1 + np.mean(np.tanh([0.25, 0.5, 1.0, 2.0])))
    assert symmetry_path(np.array([3.7]))[0] == pytest.approx(expected, rel=1e-12)


def test_more_above_is_more_evidence():
    x = np.random.default_rng(0).standard_normal(20)
    shifted = [symmetry_path(x + shift)[-1] for shift in (0.0, 0.3, 0.6, 0.9)]
    assert shifted == sorted(shifted)


def test_the_path_looks_at_nothing_to_come():
    x = np.random.default_rng(1).standard_normal(30)
    assert symmetry_path(x)[:10] == pytest.approx(symmetry_path(x[:10]), rel=1e-9)


@pytest.mark.parametrize("law", ["normal", "t3", "laplace with moving spread"])
def test_the_sequence_covers_the_centre_at_all_times_at_once(law):
    # The centre is outside at some time exactly when the two-sided path reaches 1/alpha.
    rng = np.random.default_rng(2)
    x = {
        "normal": lambda: rng.standard_normal((800, 200)),
        "t3": lambda: rng.standard_t(3, (800, 200)),
        "laplace with moving spread": lambda: rng.laplace(size=(800, 200)) * np.exp(np.sin(np.arange(200) / 9)),
    }[law]()
    missed = np.mean(two_sided_path(x).max(axis=1) >= np.log(20))
    assert missed <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 800)


def test_bounds_are_where_the_evidence_reaches_the_limit():
    x = 5 + np.random.default_rng(3).standard_normal(25)
    low, high = symmetry_bounds(x, 0.05)
    assert low < 5 < high
    assert high - low < 2
    for bound in (low, high):
        assert two_sided_path(x - bound)[-1] == pytest.approx(np.log(20), abs=0.01)


def test_bounds_move_with_the_blocks():
    x = np.random.default_rng(4).standard_normal(15)
    low, high = symmetry_bounds(x, 0.05)
    assert symmetry_bounds(10 * x + 3, 0.05) == pytest.approx((10 * low + 3, 10 * high + 3), rel=1e-5)
    assert symmetry_bounds(-x, 0.05) == pytest.approx((-high, -low), rel=1e-5)


def test_a_few_blocks_bound_nothing():
    assert symmetry_bounds(np.array([1.0, 1.1, 0.9]), 0.05) == (-np.inf, np.inf)
    assert symmetry_bounds(np.array([]), 0.05) == (-np.inf, np.inf)
