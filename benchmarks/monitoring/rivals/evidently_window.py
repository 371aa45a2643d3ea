"""Evidently's default drift scores of one window; run by the interpreter of its own environment.

evidently_window.py JOB.npz     prints JSON: the score of each column
"""

import json
import sys

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset


def frame(job, which):
    """Return a table as it was drawn: columns n are numbers, columns c labels."""
    names = [name[2:] for name in job.files if name.startswith(which)]
    columns = {name: job[f"{which}_{name}"] for name in names}
    return pd.DataFrame({n: v.astype(float) if n.startswith("n") else v for n, v in columns.items()})


def main():
    """Ask, and print."""
    job = np.load(sys.argv[1])
    usual, now = frame(job, "r"), frame(job, "c")
    definition = DataDefinition(
        numerical_columns=[name for name in usual if name.startswith("n")],
        categorical_columns=[name for name in usual if name.startswith("c")],
    )
    tables = [Dataset.from_pandas(each, data_definition=definition) for each in (now, usual)]
    found = Report([DataDriftPreset()]).run(*tables).dict()
    told = {}
    for metric in found["metrics"]:
        column = metric.get("config", {}).get("column")
        if column and isinstance(metric["value"], float):
            told[column] = metric["value"]
    print(json.dumps(told))


if __name__ == "__main__":
    main()
