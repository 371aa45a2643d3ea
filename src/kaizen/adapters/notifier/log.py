"""Pages as structured log lines: the notifier that needs nothing."""

from __future__ import annotations

import structlog

from kaizen.core.records import Endpoint, Finding


class LogNotifier:
    """Writes one event a page, at level error, to the logger ``kaizen.page``. Thread-safe."""

    def notify(self, finding: Finding, endpoint: Endpoint) -> None:
        """Write the page as one event."""
        structlog.get_logger("kaizen.page").error(
            "page",
            project=finding.project,
            endpoint=endpoint.name,
            revision=endpoint.revision,
            finding=finding.id,
            at=finding.at.isoformat(),
            subject=finding.subject,
            question=finding.question,
            verdict=finding.verdict,
            estimate=finding.estimate,
            evidence=finding.evidence,
            limit=finding.limit,
            says=finding.says,
        )
