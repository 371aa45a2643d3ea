"""Alerts as structured log lines: the notifier that needs nothing."""

from __future__ import annotations

import structlog

from kaizen.core.ports import Notice

_LEVELS = {"critical": "critical", "warning": "warning", "info": "info"}


class LogNotifier:
    """Writes one event a message to the logger ``kaizen.alert``, as severe as the alert; ``info`` once it is over."""

    def __init__(self, *, url: str, secret: str | None) -> None:
        """Take what every notifier is made with; a log has no address."""

    def notify(self, notice: Notice) -> None:
        """Write the message as one event."""
        alert = notice.alert
        level = "info" if alert.state == "resolved" else _LEVELS[alert.severity]
        getattr(structlog.get_logger("kaizen.alert"), level)(
            "alert",
            project=alert.project,
            endpoint=alert.endpoint,
            change=notice.event,
            severity=alert.severity,
            alert=alert.id,
            key=alert.key,
            at=alert.at.isoformat(),
            since=alert.since.isoformat(),
            title=notice.title,
            at_stake=alert.at_stake,
            labels=alert.labels,
            findings=[
                {"id": f.id, "subject": f.subject, "verdict": f.verdict, "evidence": f.evidence, "limit": f.limit}
                for f in notice.findings[:50]
            ],
        )
