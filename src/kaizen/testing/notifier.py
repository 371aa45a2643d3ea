"""The conformance suite of the notifier port: subclass it, say how to make one and how to look, and pytest does the
rest."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Sequence

import msgspec
import pytest

from kaizen.core.errors import KaizenError
from kaizen.core.ports import Notice, Notifier
from kaizen.testing.records import alert, finding

SECRET = "c0nf0rmance-s3cret"


def notice(identity: str, *, subject: str = "distance", event: str = "opened") -> Notice:
    """Return a message about one column; the finding behind it is ``finding-IDENTITY``."""
    told = alert(identity, subject=subject, findings=(f"finding-{identity}",))
    if event == "resolved":
        told = msgspec.structs.replace(told, state="resolved", change="resolved")
    told = msgspec.structs.replace(told, body=f"{told.body}\nAlert {told.id}")
    return msgspec.convert(
        {"id": identity, "alert": told, "findings": (finding(f"finding-{identity}", subject=subject),), "event": event},
        Notice,
        from_attributes=True,
    )


class NotifierConformance:
    """What every notifier must do.

    A subclass says how to make one, and what has arrived at the other end, as text, since the test began.

    >>> class TestMine(NotifierConformance):
    ...     def notifier(self): ...
    ...     def arrived(self): ...
    ...     def broken(self): ...
    """

    def notifier(self) -> Notifier:
        """Return the adapter under test."""
        raise NotImplementedError

    def arrived(self) -> Sequence[str]:
        """Return the messages that have arrived, as text, in order."""
        raise NotImplementedError

    def broken(self) -> Notifier | None:
        """Return one that nobody answers, with `SECRET` in its address; None where there is no other side."""
        raise NotImplementedError

    def test_a_message_says_what_where_and_which(self) -> None:
        """Who is woken must see what it is about, how bad it is, and find the alert."""
        self.notifier().notify(notice("01ABC", subject="wind_speed"))
        (message,) = self.arrived()
        for part in ("01ABC", "[critical] p: drift in wind_speed"):
            assert part in message

    def test_each_call_is_one_message_in_order(self) -> None:
        """Nothing is merged or held back."""
        notifier = self.notifier()
        for number in range(3):
            notifier.notify(notice(f"page-{number}"))
        assert len(self.arrived()) == 3
        for number, message in enumerate(self.arrived()):
            assert f"page-{number}" in message

    def test_a_reminder_and_an_end_arrive_and_a_reminder_says_so(self) -> None:
        """Both are messages as good as the first."""
        notifier = self.notifier()
        for event in ("opened", "reminder", "resolved"):
            notifier.notify(notice(event, event=event))
        assert ["Still open: [critical]" in message for message in self.arrived()] == [False, True, False]

    @pytest.mark.parametrize("subject", ["日本", "<script>", "a\nb", 'say "x"', "{braces} %s", "a\r\nBcc: x@y.org"])
    def test_any_text_is_delivered(self, subject: str) -> None:
        """The words of the user's columns are not a template, and no header either."""
        self.notifier().notify(notice("1", subject=subject))
        assert len(self.arrived()) == 1

    def test_threads_may_share_one(self) -> None:
        """Several messages at once are several messages."""
        notifier = self.notifier()
        threads = [threading.Thread(target=notifier.notify, args=(notice(f"page-{n}"),)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert len(self.arrived()) == 4

    def test_where_nobody_answers_it_says_so_soon_and_shows_no_secret(self, caplog: pytest.LogCaptureFixture) -> None:
        """The caller tries again; neither the error nor what is logged tells the address."""
        notifier = self.broken()
        if notifier is None:
            return
        started = time.monotonic()
        with caplog.at_level("DEBUG"), pytest.raises(KaizenError) as caught:
            notifier.notify(notice("1"))
        assert time.monotonic() - started < 15
        assert SECRET not in "".join(traceback.format_exception(caught.value)) + caplog.text
