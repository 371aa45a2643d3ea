"""Estimates without labels: their error beside NannyML's on the same windows, and how often their bands are right.

Windows are of real tables, drawn from rows that nobody has seen, so the truth is the metric of their own labels. A
band is right when it holds that metric. NannyML's CBPE and DLE run with their defaults, in their own environment; the
band that they print is 3 standard errors to either side. "calibrated" is kaizen without reweighting, which any
window has; "kaizen" is by its rule. The prior beside kaizen's is that of the confusion matrix (BBSE).
"""

from __future__ import annotations

import csv
import gzip
from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np
from _report import arguments, failed, figure, goal, machine, summary, table
from numpy.typing import NDArray

from kaizen.core import plugins
from kaizen.core.records import FeatureColumn
from kaizen.learn import losses
from kaizen.learn.problem import Features
from kaizen.monitor.estimates.basis import ReferenceRows
from kaizen.monitor.estimates.estimate import EstimateReference, estimate, fit, keep, outside
from kaizen.page.page import Html
from kaizen.stats import metrics as truths
from monitoring import nannyml
from monitoring.nannyml import NANNYML
from monitoring.tables import BINS, REAL, SHIFTS, TABLES, Index, Table, World, load, world

Float = NDArray[np.float64]
REFERENCE, SIZE = 4000, 1000
SHOWN = {"classification": ("auc", "accuracy"), "regression": ("mae", "rmse")}


class Told(NamedTuple):
    """What somebody said of a metric of a window, and what was true."""

    value: float
    low: float
    high: float
    truth: float

    @property
    def error(self) -> float:
        """How far off it was."""
        return abs(self.value - self.truth)

    @property
    def is_right(self) -> bool:
        """Whether the band holds the truth."""
        return self.low <= self.truth <= self.high


Found = dict[tuple[str, str, str, str], list[Told]]
"""By table, shift, metric and who said it."""


def main() -> None:
    """Measure and print."""
    measure(quick=arguments(__doc__).quick)
    machine("scipy", "lightgbm")
    summary()


def measure(*, quick: bool) -> Html:
    """Print the estimates of all windows, and how they did; there is no picture."""
    if not REAL.is_dir():
        failed("estimates without labels", f"no {REAL}: set KAIZEN_DATA to the folder of data sets")
        return Html("")
    problem = NANNYML.problem()
    rival = not problem
    print(f"  rival: {NANNYML.version()}" if rival else f"  SKIPPED  NannyML cannot be installed: {problem}")
    _california(rival=rival)
    references, windows = (2, 6) if quick else (10, 12)
    found: Found = defaultdict(list)
    chosen: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    priors: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for name in TABLES:
        read = load(name)
        if read is None:
            print(f"  SKIPPED  {name}: no data in {REAL}")
            continue
        for seed in range(references):
            _measure(read, seed, windows, found, chosen, priors, rival=rival)
    _report(found, chosen, priors)
    return Html("")


def _california(*, rival: bool) -> None:
    """The example that NannyML ships: houses from elsewhere than the reference's, in seven chunks."""
    folder = REAL / "nannyml_california"
    if not folder.is_dir():
        print(f"  SKIPPED  nannyml_california: no {folder}")
        return
    parts = {}
    for part in ("reference", "analysis", "analysis_gt"):
        with gzip.open(folder / f"california_housing_{part}.csv.gz", "rt") as file:
            parts[part] = list(csv.DictReader(file))
    label = np.array([float(row["clf_target"]) for row in parts["reference"]])
    score = np.array([float(row["y_pred_proba"]) for row in parts["reference"]])
    truth = np.array([float(row["clf_target"]) for row in parts["analysis_gt"]])
    shown = np.array([float(row["y_pred_proba"]) for row in parts["analysis"]])
    size = len(truth) // 7
    made = fit("classification", "auc", score, label, np.arange(len(score)) // 24)  # a row an hour
    assert made is not None
    theirs = nannyml.estimates(np.stack([label, score], 1), np.stack([truth, shown], 1), size)["auc"] if rival else []
    rows, ours_error, theirs_error = [], [], []
    for chunk in range(7):
        part = slice(chunk * size, (chunk + 1) * size)
        true = truths.auc(truth[part], shown[part])
        found = estimate(made[0], made[0].outcomes.count(shown[part]))
        assert found is not None
        ours = found.figure("auc")
        ours_error.append(abs(ours.value - true))
        row = [str(chunk + 1), f"{true:.3f}", f"{ours.value:.3f}", f"{ours.low:.3f} to {ours.high:.3f}"]
        if rival:
            value, low, high = theirs[chunk]
            theirs_error.append(abs(value - true))
            row += [f"{value:.3f}", f"{low:.3f} to {high:.3f}"]
        rows.append(row)
    print(f"\n  nannyml_california, ROC AUC of chunks of {size} rows; in the reference {made[0].figures['auc']:.3f}")
    table(("chunk", "truth", "kaizen", "band", "NannyML", "its band")[: len(rows[0])], rows)
    if rival:
        goal(
            "nannyml_california: mean error of kaizen's over NannyML's",
            float(np.mean(ours_error) / np.mean(theirs_error)),
            1.0,
            sides=f"{np.mean(ours_error):.4f}, NannyML {np.mean(theirs_error):.4f}",
        )


def _measure(
    read: Table,
    seed: int,
    windows: int,
    found: Found,
    chosen: dict[tuple[str, str], Counter[str]],
    priors: dict[str, list[tuple[float, float]]],
    *,
    rival: bool,
) -> None:
    """Fit one model and reference, and estimate windows of every shift."""
    rng = np.random.default_rng(seed)
    here = world(read, rng, REFERENCE, crude=seed % 2 == 1)
    score, outcome = _scores(here)
    known = here.reference
    made = fit(read.task, SHOWN[read.task][0], score[known], outcome[known], None)
    assert made is not None
    reference, groups = made
    placed = {f"column:{at}": (here.codes[known, at], size) for at, size in enumerate(here.sizes)}
    kept = keep(reference, groups, score[known], outcome[known], placed)
    shifts = SHIFTS if read.task == "classification" else SHIFTS[:2]
    drawn = {shift: [here.window(rng, shift, SIZE) for _ in range(windows)] for shift in shifts}
    told = _rival(here, np.concatenate([row for each in drawn.values() for row in each])) if rival else {}
    at = 0
    for shift, each in drawn.items():
        for rows in each:
            true = _truth(here, rows)
            for who, method in (("kaizen", None), ("calibrated", "calibrated")):
                said = _estimated(here, reference, kept, score, rows, method)
                for name in true:
                    ours = said.figure(name)
                    found[read.name, shift, name, who].append(Told(ours.value, ours.low, ours.high, true[name]))
                if who == "kaizen":
                    chosen[read.name, shift][said.method] += 1
                    if said.prior is not None and shift == "prior":
                        share = float(outcome[rows].mean())
                        priors[read.name].append((abs(said.prior - share), abs(_bbse(here, rows) - share)))
            for name in true.keys() & told.keys():
                found[read.name, shift, name, "NannyML"].append(Told(*told[name][at], true[name]))
            at += 1


def _scores(here: World) -> tuple[Float, Float]:
    """Return score and outcome of every row; of a regression the loss expected by the loss model, and the loss."""
    read, known = here.table, here.reference
    if read.task == "classification":
        return here.answers, read.target
    error = np.abs(read.target - here.answers)
    matrix = np.column_stack((read.matrix, here.answers))
    features = Features(matrix, (*read.columns, FeatureColumn("answer", "answer")), b"")
    made = losses.fit(plugins.load("framework", losses.FRAMEWORK)(), features, known, error[known], None, 0)
    from kaizen.graph.run import Session

    score = Session(made.graph).run({"features": matrix})[:, 0]
    score[known] = made.expected
    return score, error


def _truth(here: World, rows: Index) -> dict[str, float]:
    names = SHOWN[here.table.task]
    return {name: truths.SCORES[name](here.table.target[rows], here.answers[rows]) for name in names}


def _counts(here: World, rows: Index) -> dict[str, NDArray[np.int64]]:
    return {f"column:{at}": np.bincount(here.codes[rows, at], minlength=size) for at, size in enumerate(here.sizes)}


def _estimated(here: World, reference: EstimateReference, kept: ReferenceRows, score: Float, rows: Index, method):  # type: ignore[no-untyped-def]
    columns = _counts(here, rows)
    strange = outside({key: each.tolist() for key, each in _counts(here, here.reference).items()}, columns)
    counts = reference.outcomes.count(score[rows])
    found = estimate(reference, counts, columns=columns, rows=kept, outside=strange, method=method)
    assert found is not None
    return found


def _bbse(here: World, rows: Index) -> float:
    """Return the share of positives by the confusion matrix (Lipton, Wang & Smola 2018)."""
    yes, label = here.answers >= 0.5, here.table.target == 1
    known = here.reference
    hits, false = yes[known][label[known]].mean(), yes[known][~label[known]].mean()
    return float(np.clip((yes[rows].mean() - false) / max(hits - false, 1e-9), 0.0, 1.0))


def _rival(here: World, rows: Index) -> nannyml.Told:
    read = here.table
    features = read.matrix.shape[1] if read.task == "regression" else 0

    def told(which: Index) -> Float:
        parts = (read.target[which, None], here.answers[which, None], read.matrix[which, :features])
        return np.concatenate(parts, axis=1)

    return nannyml.estimates(told(here.reference), told(rows), SIZE, features)


def _report(
    found: Found, chosen: dict[tuple[str, str], Counter[str]], priors: dict[str, list[tuple[float, float]]]
) -> None:
    rows = []
    for name, shift, metric, who in sorted(found, key=lambda key: (key[1], key[2], key[0])):
        if who != "kaizen":
            continue
        cells = []
        for each in ("kaizen", "calibrated", "NannyML"):
            told = found.get((name, shift, metric, each), [])
            cells += [f"{np.mean([t.error for t in told]):.4g}", f"{_covered(told):.1%}"] if told else ["", ""]
        picked = chosen[name, shift]
        method = ", ".join(f"{word} {picked[word]}" for word in sorted(picked))
        rows.append([shift, metric, name, *cells, method])
    print(f"\n  windows of {SIZE:,} rows, references of {REFERENCE:,}, {BINS} bins; mean absolute error, right bands")
    header = ("shift", "metric", "table", "kaizen", "right", "calibrated", "right", "NannyML", "right", "chosen")
    table(header, rows)
    for shift in SHIFTS:
        _goals(found, shift)
    for name, pairs in sorted(priors.items()):
        ours, theirs = np.mean(pairs, axis=0)
        figure(f"{name}: error of the share of positives", f"{ours:.4f}, by the confusion matrix {theirs:.4f}")


def _goals(found: Found, shift: str) -> None:
    """Print the goals of one shift: errors as ratios to NannyML's, averaged over tables; bands over all windows."""
    keys = [key for key in found if key[1] == shift and key[3] == "kaizen"]
    for rival, metrics in (("CBPE", SHOWN["classification"]), ("DLE", SHOWN["regression"])):
        ratios = []
        for name, _, metric, _ in keys:
            theirs = found.get((name, shift, metric, "NannyML"))
            if theirs and metric in metrics:
                ours = [t.error for t in found[name, shift, metric, "kaizen"]]
                ratios.append(np.log(np.mean(ours) / np.mean([t.error for t in theirs])))
        if ratios:
            share = float(np.exp(np.mean(ratios)))
            goal(f"shift {shift}: error over that of NannyML's {rival}, mean over tables and metrics", share, 1.0)
    told = [t for key in keys for t in found[key]]
    if told:
        covered = _covered(told)
        error = np.sqrt(covered * (1 - covered) / len(told))
        theirs = [t for key in keys for t in found.get((*key[:3], "NannyML"), [])]
        sides = f"{len(told)} bands, NannyML's {_covered(theirs):.3f}"
        goal(f"shift {shift}: right bands", covered, 0.93, least=True, sides=f"{sides}, standard error {error:.3f}")
        goal(f"shift {shift}: right bands", covered, 0.97)
    else:
        failed(f"shift {shift}", "no table")


def _covered(told: list[Told]) -> float:
    return float(np.mean([t.is_right for t in told])) if told else float("nan")


if __name__ == "__main__":
    main()
