"""Sizes as people write them."""

from __future__ import annotations

import pytest

from kaizen.core.sizes import size_bytes


@pytest.mark.parametrize(("text", "size"), [("1B", 1), ("3KiB", 3072), ("64MiB", 1 << 26), (" 2 GiB ", 1 << 31)])
def test_a_number_and_a_unit_are_a_size(text, size):
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "64", "64MB", "64 mib", "-1B", "1.5MiB", "0B", "MiB", "1e3B"])
def test_what_is_no_size_says_how_one_is_written(text):
    with pytest.raises(ValueError, match="such as '64MiB'"):
        size_bytes(text)
