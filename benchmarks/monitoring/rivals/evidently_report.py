"""Evidently's drift report of two Parquet tables, with its defaults; run by the interpreter of its own environment.

evidently_report.py REFERENCE CURRENT OUT.html
"""

import sys

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset


def main():
    """Read, compare, write."""
    usual, now = (pd.read_parquet(path) for path in sys.argv[1:3])
    definition = DataDefinition(
        numerical_columns=[name for name in usual if name.startswith("n")],
        categorical_columns=[name for name in usual if name.startswith("c")],
    )
    tables = [Dataset.from_pandas(each, data_definition=definition) for each in (now, usual)]
    Report([DataDriftPreset()]).run(*tables).save_html(sys.argv[3])


if __name__ == "__main__":
    main()
