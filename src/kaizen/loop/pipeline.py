"""The learning side's walk: rows become a dataset, features, a run, and a signed bundle.

    source ─► freeze ─► Dataset ─► search ─► Settings ─► train ─► FeatureSet, Run, Bundle ─► first: champion
                            ▲                   │                                            later: candidate.py
       logged rows with known labels            └── a retraining reuses the settings of the champion's run

Search and train are durable steps: the same dataset, code and settings are never computed twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from kaizen.core import plugins
from kaizen.core.errors import LearnError, nearest
from kaizen.core.ports import Framework
from kaizen.core.project import Project
from kaizen.core.projectfile import ProjectFile, search_budget
from kaizen.core.records import Bundle, Dataset
from kaizen.data import columns as typed
from kaizen.data import leaks, profile, snapshot, tables, validate
from kaizen.data.leaks import Leak
from kaizen.data.target import target_of
from kaizen.data.validate import Violation
from kaizen.features.fit import required
from kaizen.learn.problem import Settings
from kaizen.learn.search import Trial, best, search
from kaizen.loop import candidate
from kaizen.loop.journal import Journal, put_new
from kaizen.loop.material import Material, definition_of, material
from kaizen.loop.train import train
from kaizen.stats.metrics import BY_TASK

Note: TypeAlias = Callable[[str], None]


class Learned(msgspec.Struct, frozen=True):
    """What a walk came to."""

    dataset: str
    run: str
    bundle: str
    version: int
    decision: str
    says: str
    warnings: tuple[str, ...] = ()  # what is odd about the rows, a sentence each


class Searched(msgspec.Struct, frozen=True):
    """What a search came to: its trials, and the settings of the best."""

    trials: tuple[Trial, ...]
    settings: Settings


def learn(project: Project, *, note: Note = lambda _: None, warn: Note = lambda _: None) -> Learned:
    """Return the model found in the project's rows, packed, registered and, if it is the first, champion.

    With an endpoint that has a champion already, the new bundle has to pass the gates and goes to shadow.

    Parameters
    ----------
    note
        Told what is going on, for progress.
    warn
        Told, before the search, what is odd about the rows: columns that seem to know the answer, rows left out.

    Raises
    ------
    KaizenError
        Rows, declaration or target do not allow it; nothing is registered then.
    """
    _require_known(project.file)
    journal = Journal(project)
    note("reading and validating")
    taken = take_in(project)
    for warning in taken.warnings:
        warn(warning)
    dataset = taken.dataset
    rows = material(project, dataset)
    note(f"searching over {', '.join(project.file.learn.algorithms)}")
    searched = journal.step(
        "search",
        (dataset.id, rows.definition_id, project.file.learn),
        lambda _: _search(project, rows, note),
        Searched,
    )
    note(f"training {searched.settings.algorithm}")
    trained = train(project, journal, rows, searched.settings, trials=searched.trials)
    decision = candidate.enter(project, journal, trained, rows, key=f"learn {dataset.id}", by="learn")
    bundle = project.records.get(Bundle, trained.bundle)
    return Learned(dataset.id, trained.run, trained.bundle, bundle.version, decision.id, trained.says, taken.warnings)


def _require_known(file: ProjectFile) -> None:
    """Raise for an algorithm or a metric that does not exist, before hours are spent on it."""
    known = plugins.adapters("framework")
    for name in file.learn.algorithms:
        if name not in known:
            raise LearnError(f"there is no algorithm {name!r}", where="learn.algorithms", fix=nearest(name, known))
    task = file.project.task
    asked = [("learn.metric", file.metric)]
    asked += [(f"learn.gates[{index}].metric", gate.metric) for index, gate in enumerate(file.learn.gates)]
    for where, name in asked:
        if name not in BY_TASK[task]:
            raise LearnError(f"{name!r} is no metric of {task}", where=where, fix=nearest(name, BY_TASK[task]))


class Looked(msgspec.Struct, frozen=True):
    """What a look at the source came to: how many rows, what is odd about them, and who may know the answer."""

    rows: int
    violations: tuple[Violation, ...]
    leaks: tuple[Leak, ...]

    @property
    def says(self) -> str:
        """One sentence for people."""
        named = ", ".join(leak.column for leak in self.leaks) or "none"
        return f"{self.rows:,} rows, {len(self.violations)} rules broken; columns that know the answer: {named}"


def looked_at(project: Project, *, source: str | None = None) -> Looked:
    """Return what validation says of the project's source, or of another table held against it.

    The rules are those that the source suggests and `[data.rules]` overrides. Every column is looked at for
    knowledge of the answer, those declared under `outcome` too.
    """
    file = project.file
    with tables.connect(file, project.folder) as sql:
        columns = typed.columns_of(sql, file=file)
        found = profile.profile(sql, "rows", columns)
        rules = validate.infer(found, file)
        named = leaks.leaks(sql, "rows", columns, file=file, wanted=[column.name for column in columns])
        if source is None:
            broken = validate.check(sql, "rows", rules, at=project.clock.now())
            return Looked(found.rows, tuple(broken), tuple(named))
    other = msgspec.structs.replace(file, data=msgspec.structs.replace(file.data, source=source))
    with tables.connect(other, project.folder) as sql:
        broken = validate.check(sql, "rows", rules, at=project.clock.now())
        row = sql.execute("SELECT count(*) FROM rows").fetchone()
    return Looked(int(row[0]) if row else 0, tuple(broken), tuple(named))


class Taken(msgspec.Struct, frozen=True):
    """The source's rows as a dataset, and what is odd about them."""

    dataset: Dataset
    warnings: tuple[str, ...]


def frozen(project: Project) -> Dataset:
    """Return the source's rows as a dataset; see `take_in`."""
    return take_in(project).dataset


def take_in(project: Project) -> Taken:
    """Freeze the source's rows, validated; those left out, without a target or broken, are counted in a warning.

    Raises
    ------
    LeakageError
        A declared feature reads a column that is known only afterwards.
    DataError
        A rule fails: what `kaizen data validate` would refuse is not learned from.
    """
    file = project.file
    with tables.connect(file, project.folder) as sql:
        target = target_of(sql, file=file)
        columns = typed.columns_of(sql, file=file)
        read = required(definition_of(project, columns))
        named = leaks.leaks(sql, "rows", columns, file=file, wanted=read)
        leaks.refuse(named, where=file.data.source)
        rules = validate.infer(profile.profile(sql, "rows", columns), file)
        broken = validate.check(sql, "rows", rules, at=project.clock.now())
        validate.refuse(broken, where=file.data.source)
        dataset = snapshot.freeze(
            sql,
            f"SELECT * FROM rows WHERE {target.sql} IS NOT NULL AND NOT ({validate.broken(sql, 'rows', rules)})",
            columns=[column for column in columns if column.name not in file.data.ignore],
            file=file,
            blobs=project.blobs,
            at=project.clock.now(),
            by="learn",
        )
    put_new(project.records, [dataset])
    left_out = f"{target.missing:,} of {target.rows:,} rows have no {target.name!r} and are left out."
    warnings = [violation.says for violation in broken] + [left_out] * bool(target.missing)
    warnings += _suspicions([leak for leak in named if leak.column in read])
    return Taken(project.records.get(Dataset, dataset.id), tuple(warnings))


def _suspicions(named: list[Leak]) -> list[str]:
    if not named:
        return []
    listed = ", ".join(f'"{leak.column}"' for leak in named)
    fix = f"If they are known only afterwards, write outcome = [{listed}] under [data]."
    return [f"leak suspect: {leak.says}" for leak in named] + [fix]


def _search(project: Project, rows: Material, note: Note) -> Searched:
    section = project.file.learn
    frameworks: dict[str, Framework] = {name: plugins.load("framework", name)() for name in section.algorithms}

    def told(trial: Trial) -> None:
        score = "failed" if trial.score is None else f"{rows.problem.metric} {trial.score:.4f}"
        note(f"trial {trial.number + 1}: {trial.settings.algorithm}, {score}, {trial.seconds:.1f} s")

    trials = search(
        rows.problem, frameworks, rows.featurise, search_budget(section.budget), section.seed, on_trial=told
    )
    return Searched(tuple(trials), best(rows.problem, trials).settings)
