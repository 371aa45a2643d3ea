"""Rows whose truth is known: a score that is not calibrated, two columns, and shifts of each kind."""

import numpy as np

from kaizen.monitor.estimates.estimate import estimate, fit, keep

EDGES = np.linspace(-2.4, 2.4, 23)


def logistic(x):
    return 1 / (1 + np.exp(-x))


class Rows:
    """Rows of a stream; `y` is drawn from the chance `p`, the model answers `s`."""

    def __init__(self, rng, count, *, moved=0.0, wider=1.0, share=None, concept=1.0):
        if share is not None:
            many = Rows(rng, 20 * count, moved=moved, wider=wider, concept=concept)
            odds = share / (1 - share) * (1 - many.y.mean()) / many.y.mean()
            kept = np.flatnonzero(rng.random(20 * count) < np.where(many.y == 1, odds, 1.0) / max(odds, 1.0))[:count]
            self.x, self.y = many.x[kept], many.y[kept]
        else:
            self.x = moved + wider * rng.normal(size=(count, 2))
            p = logistic(concept * (1.4 * self.x[:, 0] + 0.7 * self.x[:, 1] - 0.8))
            self.y = (rng.random(count) < p).astype(float)
        self.s = logistic(1.8 * self.x[:, 0] - 0.6)

    def columns(self):
        places = {f"column:{name}": np.searchsorted(EDGES, self.x[:, at]) for at, name in enumerate("ab")}
        return {key: (place, len(EDGES) + 1) for key, place in places.items()}

    def counts(self):
        return {key: np.bincount(place, minlength=size) for key, (place, size) in self.columns().items()}


def reference(rng, count=3000, days=30, metric="auc"):
    """Return a reference, and its rows by their bins."""
    rows = Rows(rng, count)
    made, groups = fit(
        "classification", metric, rows.s, rows.y, None if days is None else np.arange(count) * days // count
    )
    return made, keep(made, groups, rows.s, rows.y, rows.columns())


def estimated(reference, kept, window, **how):
    return estimate(reference, reference.outcomes.count(window.s), columns=window.counts(), rows=kept, **how)
