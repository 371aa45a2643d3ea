"""The project file: what it means, and what its errors say."""

from __future__ import annotations

import copy
import json

import msgspec
import pytest

from kaizen.core import projectfile
from kaizen.core.errors import ProjectError
from kaizen.core.projectfile import SearchBudget, Trigger, parse, read, search_budget, trigger

SMALL = {"project": {"name": "p"}, "data": {"source": "a.csv", "target": "y"}}


def _with(path, value):
    raw = copy.deepcopy(SMALL)
    *sections, key = path.split("/")
    section = raw
    for name in sections:
        section = section.setdefault(name, {})
    section[key] = value
    return raw


def test_a_small_file_gets_the_defaults():
    file = parse(SMALL)
    assert (file.project.task, file.metric, file.learn.budget) == ("classification", "log_loss", "60s")
    assert file.learn.algorithms == ["lightgbm", "linear", "hist_boosting"]
    assert parse(_with("project/task", "regression")).metric == "rmse"
    assert parse(_with("learn/metric", "auc")).metric == "auc"


def test_reads_toml(tmp_path):
    (tmp_path / "kaizen.toml").write_text(
        '[project]\nname = "p"\n[data]\nsource = "a.csv"\ntarget = "y"\n'
        '[data.tables.weather]\nsource = "w.csv"\nkey = ["a", "b"]\ntime = "t"\ntolerance = "2h"\n'
        '[learn]\ngates = [{metric = "auc", min = 0.6}]\n'
    )
    file = read(tmp_path / "kaizen.toml")
    assert file.data.tables["weather"].key == ["a", "b"]
    assert file.learn.gates[0].min == 0.6


UNKNOWN = [
    ("lern", {"budget": "1s"}, "lern", "did you mean 'learn'?"),
    ("learn/bugdet", "1s", "learn.bugdet", "did you mean 'budget'?"),
    ("data/tables/w", {"source": "w", "key": "k", "tolerence": "2h"}, "data.tables.w.tolerence", "'tolerance'"),
    ("data/rules/x", {"mini": 2}, "data.rules.x.mini", "did you mean 'min'?"),
    ("learn/gates", [{"metric": "auc", "min": 1}, {"metric": "auc", "mn": 1}], "learn.gates[1].mn", "'min'?"),
    (
        "serve/zzz",
        7,
        "serve.zzz",
        "known: auth, deadline, durability, host, log, max_body, on_violation, port, rate_limit, telemetry, tls, work",
    ),
    ("serve/log", {"encript": "env:K"}, "serve.log.encript", "did you mean 'encrypt'?"),
]


@pytest.mark.parametrize(("path", "value", "where", "fix"), UNKNOWN)
def test_an_unknown_key_is_an_error_with_path_value_and_the_nearest(path, value, where, fix):
    with pytest.raises(ProjectError, match="unknown key") as caught:
        parse(_with(path, value), where="here/kaizen.toml")
    assert caught.value.where == f"here/kaizen.toml: {where}"
    assert fix in caught.value.fix
    shown = value[-1] if isinstance(value, list) else value
    shown = shown.get(where.rpartition(".")[2], shown) if isinstance(shown, dict) else shown
    assert f"(value {shown!r})" in caught.value.what


@pytest.mark.parametrize(
    ("raw", "key", "where"),
    [
        ({}, "project", "kaizen.toml"),
        ({"project": {"name": "p"}}, "data", "kaizen.toml"),
        ({**SMALL, "project": {}}, "name", "kaizen.toml: project"),
        (_with("data/tables/w", {"source": "w"}), "key", "kaizen.toml: data.tables.w"),
    ],
)
def test_a_missing_key_is_an_error_that_names_it(raw, key, where):
    with pytest.raises(ProjectError, match=f"the key '{key}' is missing") as caught:
        parse(raw)
    assert caught.value.where == where
    assert key in caught.value.fix


@pytest.mark.parametrize(
    ("path", "value", "where", "says"),
    [
        ("serve/port", "80", "serve.port", "expected 'int', got 'str' (value '80')"),
        ("learn/budget", 60, "learn.budget", "expected 'str', got 'int' (value 60)"),
        ("learn", "x", "learn", "expected 'object', got 'str' (value 'x')"),
        ("data/rules/x", {"min": "2"}, "data.rules.x.min", "expected 'float | null', got 'str' (value '2')"),
        ("data/outcome", ["a", 3], "data.outcome[1]", "expected 'str', got 'int' (value 3)"),
    ],
)
def test_a_wrong_type_is_an_error_with_path_and_value(path, value, where, says):
    with pytest.raises(ProjectError) as caught:
        parse(_with(path, value))
    assert (caught.value.where, caught.value.what) == (f"kaizen.toml: {where}", says)


@pytest.mark.parametrize(
    ("path", "value", "where", "fix"),
    [
        ("project/task", "clasification", "project.task", "did you mean 'classification'?"),
        ("data/types/x", "numbr", "data.types.x", "did you mean 'number'?"),
        ("loop/promote", "always", "loop.promote", "known: approve, auto"),
        ("serve/on_violation", "refuze", "serve.on_violation", "did you mean 'refuse'?"),
    ],
)
def test_a_value_that_is_none_of_the_allowed_names_the_nearest(path, value, where, fix):
    with pytest.raises(ProjectError, match=f"none of the known values .value '{value}'") as caught:
        parse(_with(path, value))
    assert (caught.value.where, caught.value.fix) == (f"kaizen.toml: {where}", fix)


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("data/label_delay", "36 hours", "data.label_delay"),
        ("data/max_age", "old", "data.max_age"),
        ("data/time_zone", "Mars/Olympus", "data.time_zone"),
        ("data/tables/w", {"source": "w", "key": "k", "tolerance": "2"}, "data.tables.w.tolerance"),
        ("monitor/max_false_pages", "30d", "monitor.max_false_pages"),
        ("monitor/window", "7", "monitor.window"),
        ("monitor/mature_share", 0.2, "monitor.mature_share"),
        ("monitor/quality_patience", "a month", "monitor.quality_patience"),
        ("data/max_broken", 1.5, "data.max_broken"),
        ("data/checks", {"sum": "a + b ="}, "data.checks.sum"),
        ("learn/budget", "some trials", "learn.budget"),
        ("loop/cooldown", "99999999999d", "loop.cooldown"),
        ("loop/budget", "1/0s", "loop.budget"),
        ("loop/retrain_on", ["drift", "moon"], "loop.retrain_on"),
        ("project/name", "Bad Name", "project.name"),
        ("experiment/alpha", 0.9, "experiment.alpha"),
        ("learn/gates", [{"metric": "auc"}], "learn.gates[0]"),
    ],
)
def test_a_value_that_cannot_be_is_an_error_with_its_path(path, value, where):
    with pytest.raises(ProjectError) as caught:
        parse(_with(path, value))
    assert caught.value.where == f"kaizen.toml: {where}"


@pytest.mark.parametrize("task", ["ranking", "forecast"])
def test_a_task_that_does_not_exist_yet_is_refused_by_name(task):
    with pytest.raises(ProjectError, match=f"the task '{task}' does not exist yet") as caught:
        parse(_with("project/task", task))
    assert caught.value.fix == "use one of: classification, regression"


def test_a_folder_without_a_project_says_how_to_make_one(tmp_path):
    with pytest.raises(ProjectError, match="no project here") as caught:
        read(tmp_path / "kaizen.toml")
    assert "kaizen init" in caught.value.fix


@pytest.mark.parametrize("content", [b"[project", b"\xff\xfe"])
def test_what_is_not_toml_is_an_error_that_names_the_file(tmp_path, content):
    (tmp_path / "kaizen.toml").write_bytes(content)
    with pytest.raises(ProjectError, match=r"is not TOML|cannot be read") as caught:
        read(tmp_path / "kaizen.toml")
    assert caught.value.where == str(tmp_path / "kaizen.toml")


def test_every_key_of_the_types_is_in_the_json_schema():
    schema = projectfile.json_schema()
    assert json.loads(json.dumps(schema)) == schema
    learn = schema["$defs"]["LearnSection"]
    assert set(learn["properties"]) == set(projectfile.LearnSection.__struct_fields__)
    assert learn["additionalProperties"] is False


def test_the_same_structs_can_be_built_in_python():
    built = projectfile.ProjectFile(
        project=projectfile.ProjectSection(name="p"), data=projectfile.DataSection(source="a.csv", target="y")
    )
    assert built == parse(SMALL)
    assert parse(msgspec.to_builtins(built)) == built


def test_budgets_and_triggers():
    assert search_budget("90s") == SearchBudget(seconds=90.0)
    assert search_budget("12 trials") == SearchBudget(trials=12)
    assert search_budget("1 trial") == SearchBudget(trials=1)
    assert trigger("drift") == Trigger("drift")
    assert trigger("schedule 7d") == Trigger("schedule", every_s=604800.0)
    assert trigger("rows 50000") == Trigger("rows", rows=50000)
    for text in ("", "drift now", "rows", "rows many", "schedule", "moon"):
        with pytest.raises(ValueError, match="no trigger"):
            trigger(text)


SECURITY = [
    ("serve/max_body", "64MB", "serve.max_body", "is no size"),
    ("serve/max_body", "0B", "serve.max_body", "is no size"),
    ("serve/rate_limit", "often", "serve.rate_limit", "is no rate"),
    ("serve/rate_limit", "0/1s", "serve.rate_limit", "is no rate"),
    ("serve/auth", {"leeway": "short"}, "serve.auth.leeway", "is no duration"),
    ("serve/telemetry", {"sample": 1.5}, "serve.telemetry.sample", "a share lies between 0 and 1"),
    ("serve/telemetry", {"traces": "collector:4318"}, "serve.telemetry.traces", "write 'off', 'otlp' or an address"),
    ("serve/telemetry", {"access_log": ""}, "serve.telemetry.access_log", "write 'off', '-' or a path"),
    ("serve/auth", {"jwks": "k.json"}, "serve.auth.jwks", "it needs serve.auth.issuer beside it"),
    ("serve/auth", {"jwks": "k.json", "issuer": "i"}, "serve.auth.jwks", "it needs serve.auth.audience beside it"),
    ("serve/auth", {"issuer": "i"}, "serve.auth.issuer", "it needs serve.auth.jwks beside it"),
    ("serve/auth", {"audience": "a"}, "serve.auth.audience", "it needs serve.auth.jwks beside it"),
    ("serve/tls", {"cert": "c.pem"}, "serve.tls.cert", "it needs serve.tls.key beside it"),
    ("serve/tls", {"key": "k.pem"}, "serve.tls.key", "it needs serve.tls.cert beside it"),
    ("serve/tls", {"client_ca": "c.pem"}, "serve.tls.client_ca", "it needs serve.tls.cert beside it"),
]


@pytest.mark.parametrize(("path", "value", "where", "says"), SECURITY)
def test_security_that_is_half_declared_is_an_error(path, value, where, says):
    with pytest.raises(ProjectError, match=says) as caught:
        parse(_with(path, value))
    assert caught.value.where == f"kaizen.toml: {where}"


@pytest.mark.parametrize(("name", "fix"), [("none", "known: ES256"), ("HS256", "'RS256'"), ("RS1", "did you mean")])
def test_tokens_are_signed_with_a_public_key_or_not_taken(name, fix):
    auth = {"jwks": "k.json", "issuer": "i", "audience": "a", "algorithms": ["ES256", name]}
    with pytest.raises(ProjectError, match="none of the known values") as caught:
        parse(_with("serve/auth", auth))
    assert caught.value.where == "kaizen.toml: serve.auth.algorithms[1]"
    assert fix in caught.value.fix


def test_where_the_log_key_is_must_be_said_and_what_was_said_is_not_repeated():
    secret = "00112233445566778899aabbccddeeff" * 2
    for value in (secret, "env:", "env:1A", "file:", "vault:x"):
        with pytest.raises(ProjectError, match=r"env:NAME.*file:PATH") as caught:
            parse(_with("serve/log", {"encrypt": value}), where="here/kaizen.toml")
        assert caught.value.where == "here/kaizen.toml: serve.log.encrypt"
        assert secret not in str(caught.value)
    for value in ("env:KAIZEN_LOG_KEY", "file:/run/secrets/log.key", "file:log.key"):
        assert parse(_with("serve/log", {"encrypt": value})).serve.log.encrypt == value


def test_a_column_is_hashed_or_dropped_not_both():
    with pytest.raises(ProjectError, match="'note' is in hash as well as in drop"):
        parse(_with("serve/log", {"hash": ["note", "tailnum"], "drop": ["note"]}))
