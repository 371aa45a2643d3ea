"""The rules of a bundle, held against each row that is served.

What breaks a rule is answered and counted, behind the answer (`kaizen_violations_total`). With
``on_violation = "refuse"`` a row that breaks a declared rule is refused before it is scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from threading import Lock
from typing import Any, Protocol, TypeAlias, runtime_checkable

from kaizen.core.errors import RequestError
from kaizen.core.rules import RowRule, Rules, row_rules
from kaizen.graph.frame import Feeds
from kaizen.graph.row_check import row_check
from kaizen.graph.rows import shown
from kaizen.serve.reader import Inputs, Reader

Row: TypeAlias = tuple[Sequence[Any], Sequence[int], Sequence[str]]  # numbers, times, strings


@runtime_checkable
class Ruled(Protocol):
    """A model that says what its rows should be; one that does not is served all the same."""

    def rules(self) -> Rules | None:
        """Return the rules of its bundle, None if it has none."""
        ...


class Rowwatch:
    """The rules of one generation, compiled when it is prepared, and how often each was broken since.

    Parameters
    ----------
    rules
        Of the champion's bundle.
    reader
        How rows are packed.
    """

    def __init__(self, rules: Rules, reader: Reader) -> None:
        self._reader = reader
        self._rules = row_rules(rules)
        self._row = row_check(self._rules, reader.columns)
        self._declared = [at for at, rule in enumerate(self._rules) if rule.is_declared]
        self._gate = row_check([self._rules[at] for at in self._declared], reader.columns)
        self._answered = [0] * len(self._rules)
        self._refused = [0] * len(self._rules)
        self._lock = Lock()  # of what is refused: that happens in two threads

    @property
    def is_idle(self) -> bool:
        """Whether there is no rule that a row could break."""
        return self._row is None

    def count(self, inputs: Iterable[Inputs]) -> None:
        """Count what these rows break, which are answered; on the loop's thread only.

        One by one: up to some 500 rows, the most of a batch, arrays are no faster.
        """
        check, counts = self._row, self._answered
        if check is None:
            return
        for part in inputs:
            if part.rows == 1 and part.feeds is None:
                for number in check(part.numbers, part.times, part.strings):
                    counts[number] += 1
                continue
            for row in self._rows_in(part):
                for number in check(*row):
                    counts[number] += 1

    def refuse(self, inputs: Sequence[Inputs]) -> None:
        """Raise a 422 that names the first row that breaks a declared rule, if one does; in any thread."""
        if self._gate is None:
            return
        rows = (row for chunk in inputs for row in self._rows_in(chunk))
        for place, row in enumerate(rows):
            broken = self._gate(*row)
            if broken:
                number = self._declared[broken[0]]
                with self._lock:
                    self._refused[number] += 1
                raise self._refusal(self._rules[number], row, place)

    def totals(self) -> Iterator[tuple[RowRule, int]]:
        """Yield each rule that was broken, and by how many rows."""
        for rule, answered, refused in zip(self._rules, self._answered, self._refused, strict=True):
            if answered or refused:
                yield rule, answered + refused

    def _rows_in(self, inputs: Inputs) -> Iterator[Row]:
        if inputs.feeds is not None:
            yield from _rows(inputs.feeds)
            return
        widths = len(self._reader.numbers), len(self._reader.times), len(self._reader.strings)
        for at in range(inputs.rows):
            n, t, s = (slice(at * width, (at + 1) * width) for width in widths)
            yield inputs.numbers[n], inputs.times[t], inputs.strings[s]

    def _refusal(self, rule: RowRule, row: Row, place: int) -> RequestError:
        if rule.kind == "check":
            what = f"the check {rule.name!r} does not hold: {rule.wants}"
            return RequestError(what, status=422, where=f"rows[{place}]", fix="correct the row")
        groups = zip((self._reader.numbers, self._reader.times, self._reader.strings), row, strict=True)
        values = {column.name: value for columns, own in groups for column, value in zip(columns, own, strict=False)}
        what = f"expected {rule.wants}, got {shown(values[rule.name])}"
        if rule.kind == "missing":
            what = "a value is missing: expected one"
        return RequestError(what, status=422, where=f"rows[{place}].{rule.name}", fix="correct the row")


def rowwatch(model: object, reader: Reader) -> Rowwatch | None:
    """Return the rules of a model's bundle, compiled; None where it has none that a row could break."""
    rules = model.rules() if isinstance(model, Ruled) else None
    watch = None if rules is None else Rowwatch(rules, reader)
    return None if watch is None or watch.is_idle else watch


def _rows(feeds: Feeds) -> Iterator[Row]:
    numbers, times, strings = (
        feeds[group].tolist() if group in feeds else repeat(()) for group in ("numbers", "times", "strings")
    )
    return zip(numbers, times, strings, strict=False)
