"""`kaizen serve` as a process: the example it prints works, one bad row harms nobody, a bad bundle changes nothing."""

from __future__ import annotations

import shlex
import socket
import urllib.request
from pathlib import Path

from kaizen.core.project import Project
from kaizen.core.records import Bundle
from kaizen.loop import policy
from kaizen.loop.act import act
from kaizen.loop.policy import Proposal
from tests.cli.conftest import Run_, declare, get, inventory, people, post, served, until
from tests.cli.test_bundle import corrupt

ROW = {"age": 61, "city": "Oslo", "seen_at": "2024-02-01T10:00:00Z"}


def test_there_is_nothing_to_serve_before_something_is_learned(kaizen: Run_, draft: Path) -> None:
    said = kaizen("serve", "--folder", draft)
    assert said.code == 1
    assert "no bundle is promoted yet, so there is nothing to serve\n  → kaizen learn" in said.err


def test_a_port_in_use_is_said_with_what_to_do(kaizen: Run_, learned: Path) -> None:
    before = inventory(learned)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = kaizen("serve", "--port", port, "--folder", learned)
        doctor = kaizen("doctor", "--folder", learned)
    assert said.code == 1
    assert f"127.0.0.1:{port}: port {port} is in use\n  → " in said.err
    assert "kaizen serve --port" in said.err
    assert doctor.code == 0
    assert inventory(learned) == before


def test_the_example_that_it_shows_is_one_it_answers(learned: Path, tmp_path: Path) -> None:
    from kaizen.cli.serve import _verified

    project = Project.open(learned)
    endpoint = project.endpoint()
    assert endpoint is not None
    example = _verified(project, endpoint)
    assert example is not None
    with served(learned) as url:
        status, answer = post(f"{url}/v1/predict", example)
    assert status == 200
    assert 0 <= answer["predictions"][0]["probability"] <= 1


def test_the_shown_command_is_one_a_shell_reads(learned: Path, capsys) -> None:
    from kaizen.cli.serve import Served, _ready
    from kaizen.core.serving import ServeSection
    from kaizen.serve.models import EndpointSource
    from tests.serve.small import SmallModel

    source = EndpointSource(name="people", endpoint=lambda: None, load=lambda _: SmallModel("sum-1"))
    example = b'{"rows":[{"name":"O\'Hara"}]}'
    served = Served(sources=[source], log=None, example=example)
    _ready(served, ServeSection(), "127.0.0.1", 1, None, as_json=False)
    words = shlex.split(next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Try")))
    assert words[1:] == ["curl", "http://127.0.0.1:1/v1/predict", "-d", '{"rows":[{"name":"O\'Hara"}]}']


def test_a_row_the_model_cannot_take_is_refused_by_its_path_and_harms_no_other(learned: Path) -> None:
    with served(learned) as url:
        for row, says in (
            ({**ROW, "age": "61"}, "rows[1].age"),
            ({"age": 61, "seen_at": None}, "city"),
            ({**ROW, "citi": "Oslo"}, "city"),
            ({**ROW, "seen_at": "yesterday"}, "rows[1].seen_at"),
        ):
            status, answer = post(f"{url}/v1/predict", {"rows": [ROW, row]})
            assert status == 400
            assert "rows[1]" in answer["error"]
            assert says in answer["error"]
        assert post(f"{url}/v1/predict", b"{")[0] == 400
        status, answer = post(f"{url}/v1/predict", {"rows": [ROW]})
        assert status == 200
        assert get(f"{url}/v2/models/people")["inputs"][0]["name"] == "age"


def test_the_declared_durability_is_what_the_server_keeps(kaizen: Run_, learned: Path) -> None:
    declare(learned, serve__durability='"disk"')
    with served(learned) as url:
        assert post(f"{url}/v1/predict", {"rows": [ROW]})[0] == 200
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
            assert b"\nkaizen_log_syncs_total 1.0\n" in answer.read()
    declare(learned, serve__durability='"paper"')
    said = kaizen("serve", "--folder", learned)
    assert said.code == 1
    assert "durability" in said.err


def test_a_running_server_follows_promotions_and_goes_back(kaizen: Run_, learned: Path) -> None:
    (learned / "people.csv").write_text(people(500, seed=3))
    with served(learned) as url:
        first = get(f"{url}/healthz")["bundles"]["champion"]
        for verb, revision in ((("learn",), 2), (("loop", "approve"), 3), (("loop", "rollback"), 4)):
            assert kaizen(*verb, "--folder", learned).code == 0
            until(lambda wanted=revision: get(f"{url}/healthz")["revision"] == wanted)
            assert post(f"{url}/v1/predict", {"rows": [ROW]})[0] == 200
        assert get(f"{url}/healthz")["bundles"]["champion"] == first


def test_a_damaged_bundle_is_not_promoted_and_a_running_server_stays_with_what_it_has(
    kaizen: Run_, learned: Path
) -> None:
    (learned / "people.csv").write_text(people(500, seed=3))
    kaizen("learn", "--folder", learned)
    kaizen("loop", "approve", "--folder", learned)
    corrupt(learned, 0)
    before = inventory(learned)
    said = kaizen("loop", "rollback", "--folder", learned)
    assert said.code == 1
    assert "graph.onnx is corrupted" in said.err
    assert inventory(learned) == before
    said = kaizen("serve", "--port", "0", "--folder", learned)
    assert said.code == 1  # the first one is in shadow, and a shadow is loaded too


def test_a_revision_with_a_damaged_bundle_leaves_the_old_one_serving(kaizen: Run_, learned: Path) -> None:
    project = Project.open(learned)
    endpoint = project.endpoint()
    assert endpoint is not None
    (learned / "people.csv").write_text(people(500, seed=3))
    declare(learned, learn__gates='[{metric = "auc", min = 0.999}]')  # packed, and kept off the endpoint
    kaizen("learn", "--folder", learned)
    second = project.records.find(Bundle)[1].id
    with served(learned) as url:
        corrupt(learned, 1)
        proposal = Proposal("promote", "behind everybody's back", (), second, policy.promoted(endpoint, second))
        project.records.put(act(project, proposal, endpoint, by="nobody", key="test"))
        until(lambda: get(f"{url}/healthz")["status"] == "degraded")
        health = get(f"{url}/healthz")
        assert health["revision"] == 1
        assert "graph.onnx is corrupted" in health["problem"]
        assert post(f"{url}/v1/predict", {"rows": [ROW]})[0] == 200
