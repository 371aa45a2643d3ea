"""The conformance suite of the records port: subclass it, say how to open a store, and pytest does the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from kaizen.core.errors import ConflictError, NotFoundError, StoreError
from kaizen.core.ports import Records
from kaizen.core.records import (
    Alert,
    AnyRecord,
    Arm,
    Bundle,
    Column,
    Dataset,
    Decision,
    Delivery,
    Endpoint,
    FeatureColumn,
    FeatureSet,
    File,
    Finding,
    Metric,
    Part,
    Run,
    Silence,
    Step,
)

AT = datetime(2013, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)


def step(identity: str, *, name: str = "fit", inputs: str = "h", result: str = "r") -> Step:
    """Return a step record."""
    return Step(id=identity, project="p", at=AT, by="suite", name=name, inputs=inputs, result=result)


def endpoint(name: str, revision: int, *, bundle: str = "b") -> Endpoint:
    """Return a revision of an endpoint with one champion."""
    return Endpoint(
        id=f"{name}@{revision}",
        project="p",
        at=AT,
        by="suite",
        name=name,
        revision=revision,
        arms=(Arm(bundle, "champion", 1.0),),
        decision="d",
    )


def finding(identity: str, *, subject: str = "distance") -> Finding:
    """Return a finding that asks for a page."""
    return Finding(
        id=identity,
        project="p",
        at=AT,
        by="suite",
        question="Has it moved?",
        subject=subject,
        method="e-process",
        estimate=0.25,
        low=None,
        high=None,
        evidence=40.0,
        limit=20.0,
        verdict="page",
        n=1000,
        says=f"{subject} has moved",
    )


def alert(identity: str, *, subject: str = "distance", findings: tuple[str, ...] = ("01",)) -> Alert:
    """Return an open alert about one column."""
    return Alert(
        id=identity,
        project="p",
        at=AT,
        by="suite",
        parents=findings,
        key="p/drift",
        episode=identity,
        endpoint="p",
        question="drift",
        state="open",
        change="opened",
        severity="critical",
        parts=(Part(subject, "", *findings[:1]),),
        since=AT - timedelta(days=7),
        title=f"[critical] p: drift in {' '.join(subject.split())}",
        body=f"{subject} has moved",
        findings=findings,
        labels={"endpoint": "p", "question": "drift", "severity": "critical", "team": "pricing"},
        links={"runbook": "https://example.org/drift?of=p"},
        at_stake=0.125,
    )


def examples() -> list[AnyRecord]:
    """Return one record of each kind, with every sort of value that a field can hold."""
    columns = (Column("distance", "number"), Column("name “é” \0 ' \"", "text"))
    metrics = (Metric("log_loss", 0.1 + 0.2, 5e-324, 1.7e308, 2**53 + 1),)
    return [
        Dataset(
            id="d",
            project="p",
            at=AT,
            by="suite",
            columns=columns,
            rows=3,
            blob="0" * 64,
            target="y",
            time="t",
            start=AT - timedelta(days=1),
            end=AT,
        ),
        FeatureSet(
            id="f",
            project="p",
            at=AT,
            by="suite",
            parents=("d",),
            dataset="d",
            inputs=columns,
            outputs=(FeatureColumn("distance", "distance"),),
            graph="1" * 64,
        ),
        Run(
            id="r",
            project="p",
            at=AT,
            by="suite",
            parents=("d", "f"),
            dataset="d",
            feature_set="f",
            task="regression",
            algorithm="linear",
            params={"rate": 0.1, "depth": 3, "kind": "x", "flag": True, "none": None},
            seed=7,
            metrics=metrics,
            baselines={"mean": metrics},
            artefact="2" * 64,
        ),
        Bundle(
            id="b",
            project="p",
            at=AT,
            by="suite",
            parents=("r",),
            name="p",
            version=1,
            task="regression",
            run="r",
            inputs=columns,
            output="value",
            files=(File("graph.onnx", "3" * 64, 10),),
            public_key="aa",
            signature="bb",
        ),
        endpoint("p", 1),
        finding("01"),
        Decision(
            id="02", project="p", at=AT, by="suite", parents=("01",), action="roll back", endpoint="p", reason="It was."
        ),
        alert("03"),
        Delivery(
            id="04",
            project="p",
            at=AT,
            by="suite",
            parents=("03",),
            alert="03",
            channel="team",
            reminder=0,
            attempt=2,
            delivered=False,
            says="no answer",
            retry_at=AT + timedelta(minutes=1),
        ),
        Silence(
            id="05",
            project="p",
            at=AT,
            by="suite",
            match={"subject": ("wind*", "é"), "severity": ("info",)},
            until=AT + timedelta(hours=2),
            reason="It blows.",
        ),
        step("s"),
    ]


class RecordsConformance:
    """What every store of records must do.

    A subclass says how to open one: two handles of one folder are two clients of one store, which is empty when
    the folder is.

    >>> class TestMine(RecordsConformance):
    ...     def open(self, folder): ...
    """

    def open(self, folder: Path) -> Records:
        """Return a new handle to the store of this folder."""
        raise NotImplementedError

    @pytest.fixture
    def connect(self, tmp_path: Path) -> Iterator[Callable[[], Records]]:
        """Give what opens one handle more; all are closed in the end."""
        opened: list[Records] = []

        def one_more() -> Records:
            opened.append(self.open(tmp_path))
            return opened[-1]

        yield one_more
        for records in opened:
            records.close()

    @pytest.fixture
    def records(self, connect: Callable[[], Records]) -> Records:
        """Give a handle to an empty store."""
        return connect()

    @pytest.mark.parametrize("record", examples(), ids=lambda record: type(record).__name__)
    def test_gives_back_every_kind_as_it_was(self, records: Records, record: AnyRecord) -> None:
        """Every field arrives unchanged."""
        records.put([record])
        assert records.get(type(record), record.id) == record
        assert records.find(type(record)) == [record]

    def test_another_handle_sees_what_was_put(self, connect: Callable[[], Records]) -> None:
        """What `put` returned from is there for everybody, also after the handle is closed."""
        writer = connect()
        writer.put(examples())
        assert [connect().get(type(each), each.id) for each in examples()] == examples()
        writer.close()
        assert [connect().get(type(each), each.id) for each in examples()] == examples()

    def test_the_same_record_again_changes_nothing(self, records: Records) -> None:
        """A step that is run again after a crash does no harm, in one call or in two."""
        records.put([step("1"), step("1")])
        records.put([step("1"), step("2")])
        assert records.find(Step) == [step("1"), step("2")]

    def test_other_content_under_an_id_is_a_conflict_and_stores_nothing(self, records: Records) -> None:
        """All of a call or none."""
        records.put([step("1")])
        with pytest.raises(ConflictError, match="'1'") as caught:
            records.put([step("0"), step("1", result="other"), step("2")])
        assert caught.value.fix
        assert records.find(Step) == [step("1")]

    def test_an_id_may_be_used_by_several_kinds(self, records: Records) -> None:
        """The identity of a record is its kind and its id."""
        records.put([step("1"), finding("1")])
        assert records.get(Step, "1") == step("1")
        assert records.get(Finding, "1") == finding("1")

    def test_an_unknown_id_raises(self, records: Records) -> None:
        """`get` says what is not there; `find` gives an empty list."""
        records.put([finding("1")])
        with pytest.raises(NotFoundError, match="'1'"):
            records.get(Step, "1")
        assert records.find(Step) == []

    def test_finds_in_order_of_arrival(self, records: Records) -> None:
        """Not in order of id, and the newest first when asked."""
        arrived = [step(identity) for identity in ("5", "1", "9", "3")]
        records.put(arrived[:3])
        records.put([finding("4"), *arrived[3:]])
        assert records.find(Step) == arrived
        assert records.find(Step, newest_first=True) == arrived[::-1]
        assert records.find(Step, newest_first=True, limit=2) == arrived[:1:-1]
        assert records.find(Step, limit=1) == arrived[:1]

    def test_finds_by_fields(self, records: Records) -> None:
        """Strings, numbers, several at once, and the newest of them."""
        revisions = [endpoint(name, revision) for revision in (1, 2, 3) for name in ("a", "b")]
        records.put(revisions)
        assert records.find(Endpoint, where={"name": "b"}) == revisions[1::2]
        assert records.find(Endpoint, where={"revision": 2}) == revisions[2:4]
        assert records.find(Endpoint, where={"name": "a", "revision": 2}) == [revisions[2]]
        assert records.find(Endpoint, where={"name": "a"}, newest_first=True, limit=1) == [revisions[4]]
        assert records.find(Endpoint, where={"name": "c"}) == []
        assert records.find(Endpoint, where={"id": "a@3", "project": "p"}) == [revisions[4]]

    @pytest.mark.parametrize("name", ["it's", 'a "quoted" one', "'; DROP TABLE records; --", "$.name", "", "日本 %_\\"])
    def test_values_are_values_whatever_they_contain(self, records: Records, name: str) -> None:
        """Quotes and wildcards mean nothing."""
        records.put([step("1", name=name), step("2", name="other")])
        assert records.find(Step, where={"name": name}) == [step("1", name=name)]

    def test_an_unknown_field_is_an_error_that_names_the_nearest(self, records: Records) -> None:
        """A typing mistake must not look like an empty store."""
        with pytest.raises(StoreError, match="nmae") as caught:
            records.find(Step, where={"nmae": "fit"})
        assert "'name'" in caught.value.fix

    def test_of_writers_racing_for_a_revision_one_wins(self, connect: Callable[[], Records]) -> None:
        """The others get a `ConflictError`, and the winner's content is what is stored."""
        names, revisions = ("x", "y", "z"), range(1, 11)
        handles = {name: connect() for name in names}
        lost: list[str] = []
        start = threading.Barrier(len(names))

        def write(name: str) -> None:
            for revision in revisions:
                start.wait()
                try:
                    handles[name].put([endpoint("p", revision, bundle=name)])
                except ConflictError:
                    lost.append(name)

        _run_together([lambda name=name: write(name) for name in names])  # type: ignore[misc]
        assert [each.revision for each in connect().find(Endpoint)] == list(revisions)
        assert len(lost) == (len(names) - 1) * len(revisions)

    def test_threads_may_share_a_handle(self, records: Records) -> None:
        """Nothing is lost, and each thread's records keep their order."""

        def write(thread: int) -> None:
            for number in range(20):
                records.put([step(f"{thread}-{number}", name=str(thread))])
                records.find(Step, where={"name": str(thread)}, newest_first=True, limit=1)

        _run_together([lambda thread=thread: write(thread) for thread in range(4)])  # type: ignore[misc]
        for thread in range(4):
            found = [each.id for each in records.find(Step, where={"name": str(thread)})]
            assert found == [f"{thread}-{number}" for number in range(20)]

    def test_a_record_may_be_large(self, records: Records) -> None:
        """A bundle with many columns, a finding with a long sentence."""
        large = msgspec.structs.replace(finding("1"), says="x" * 1_000_000)
        records.put([large])
        assert records.get(Finding, "1") == large


def _run_together(targets: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
