"""Alerts through apprise: mail, Slack, Teams, PagerDuty and a hundred services more, each behind one address."""

from __future__ import annotations

import inspect
import logging
import threading
from typing import Any

from kaizen.core import plugins
from kaizen.core.errors import DeliveryError, ProjectError
from kaizen.core.ports import Notice
from kaizen.core.secret import redacted

_WHERE = "apprise"
_TYPES = {"critical": "failure", "warning": "warning", "info": "info"}


class AppriseNotifier:
    """Sends one message at a time to the one service that an apprise address names. Redirects are not followed.

    Parameters
    ----------
    url
        As https://appriseit.com/services/ has it. ``?cto=`` and ``?rto=`` set its time-outs in seconds, 4 each.
    secret
        None: with apprise a secret is part of the address.
    """

    def __init__(self, *, url: str, secret: str | None) -> None:
        if secret is not None:
            raise ProjectError("with apprise a secret is part of the address", where=_WHERE, fix='adapter = "webhook"')
        apprise = _imported()
        self._url = url
        self._apprise = apprise.Apprise(asset=_asset(apprise))
        with _Said() as said:
            added = self._apprise.add(url)
        if not added or len(self._apprise) != 1:
            reason = said.text() or ("it names several services" if added else "no service has such an address")
            raise ProjectError(
                f"apprise cannot use this address: {redacted(reason, url)}",
                where=_WHERE,
                fix="see https://appriseit.com/services/; a webhook of your own needs a secret beside it",
            )

    def notify(self, notice: Notice) -> None:
        """Send the message."""
        kind = "success" if notice.alert.state == "resolved" else _TYPES[notice.alert.severity]
        with _Said() as said:
            sent = self._apprise.notify(
                title=notice.title, body=notice.alert.body, notify_type=kind, body_format="text"
            )
        if not sent:
            raise DeliveryError(redacted(said.text() or "it was not sent", self._url), where=_WHERE)


def _imported() -> Any:
    try:
        import apprise  # half a second, and all of requests
    except ModuleNotFoundError as err:
        raise plugins.missing(err) from err
    for name in ("apprise", "urllib3"):  # below this they log addresses, whoever listens
        logging.getLogger(name).setLevel(logging.WARNING)
    return apprise


def _asset(apprise: Any) -> Any:
    """Return its settings: it works in the calling thread, for one of its own would keep the process from ending."""
    known = inspect.signature(apprise.AppriseAsset.__init__).parameters
    own = {"service_timeout": 0} if "service_timeout" in known else {}  # since 2.3
    return apprise.AppriseAsset(app_id="kaizen", app_desc="kaizen", async_mode=False, http_redirects=False, **own)


class _Said(logging.Handler):
    """Catches what apprise logs in this thread as warnings and errors: all that it tells of why something failed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self._lines: list[str] = []

    def __enter__(self) -> _Said:
        logging.getLogger("apprise").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("apprise").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line of this thread."""
        if record.thread == self._thread:
            self._lines.append(" ".join(record.getMessage().split()))

    def text(self) -> str:
        """Return what was said, on one line."""
        return "; ".join(self._lines)
