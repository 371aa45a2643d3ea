"""The conformance suite of the notifier port: subclass it, say how to make one and how to look, and pytest does the
rest."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kaizen.core.ports import Notifier
from kaizen.testing.records import endpoint, finding


class NotifierConformance:
    """What every notifier must do.

    A subclass says how to make one, and what has arrived at the other end, as text, since the test began.

    >>> class TestMine(NotifierConformance):
    ...     def notifier(self): ...
    ...     def arrived(self): ...
    """

    def notifier(self) -> Notifier:
        """Return the adapter under test."""
        raise NotImplementedError

    def arrived(self) -> Sequence[str]:
        """Return the pages that have arrived, as text."""
        raise NotImplementedError

    def test_a_page_says_what_where_and_which(self) -> None:
        """Who is woken must see what it is about and find the finding."""
        self.notifier().notify(finding("01ABC", subject="wind_speed"), endpoint("flights", 3))
        (page,) = self.arrived()
        for part in ("01ABC", "wind_speed has moved", "flights"):
            assert part in page

    def test_each_call_is_one_page_in_order(self) -> None:
        """Nothing is merged or held back."""
        notifier = self.notifier()
        for number in range(3):
            notifier.notify(finding(f"page-{number}"), endpoint("flights", 1))
        assert len(self.arrived()) == 3
        for number, page in enumerate(self.arrived()):
            assert f"page-{number}" in page

    @pytest.mark.parametrize("subject", ["日本", "<script>", "a\nb", 'say "x"', "{braces} %s"])
    def test_any_text_is_delivered(self, subject: str) -> None:
        """The words of the user's columns are not a template."""
        self.notifier().notify(finding("1", subject=subject), endpoint("flights", 1))
        assert len(self.arrived()) == 1
