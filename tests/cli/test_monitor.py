"""`kaizen monitor compare` and `backtest`: one object for programs, a table for people, an exit code for scripts."""

import json

import numpy as np


def table(path, rows, shift, *, seed, first=0):
    rng = np.random.default_rng(seed)
    lines = ["at,size,kind,truth,guess"]
    for row in range(rows):
        at = np.datetime64("2024-01-01T00:00:00") + np.timedelta64(first + row // 50, "D")
        guess = rng.uniform(0.1, 0.9)
        truth = int(rng.random() < (guess if shift == 0 else 1 - guess))
        lines.append(f"{at}Z,{rng.normal(10 + shift, 2):.3f},{rng.choice(['a', 'b'])},{truth},{guess:.4f}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_compare_gives_one_object_with_what_programs_need(kaizen, tmp_path):
    old, new = table(tmp_path / "old.csv", 2000, 0, seed=1), table(tmp_path / "new.csv", 1000, 2, seed=2, first=40)
    found = kaizen("monitor", "compare", old, new, "--json")
    answer = json.loads(found.out)
    assert found.code == 0
    assert answer["page"] is True
    assert {"name", "evidence", "effect", "page", "why"} <= set(answer["columns"][0])
    assert [column["name"] for column in answer["columns"] if column["page"]] == ["size"]
    assert {finding["question"] for finding in answer["findings"]} == {"drift", "joint drift"}


def test_compare_says_the_same_for_people_and_by_its_exit_code(kaizen, tmp_path):
    old, new = table(tmp_path / "old.csv", 2000, 0, seed=1), table(tmp_path / "new.csv", 1000, 2, seed=2, first=40)
    found = kaizen("monitor", "compare", old, new, "--exit-code")
    assert found.code == 1
    assert "1 of 4 columns changed: size." in found.out
    assert kaizen("monitor", "compare", old, old, "--exit-code").code == 0
    assert "2 columns" in kaizen("monitor", "compare", old, old, "--ignore", "truth", "--ignore", "guess").out


def test_compare_refuses_what_is_not_there(kaizen, tmp_path):
    old = table(tmp_path / "old.csv", 200, 0, seed=1)
    found = kaizen("monitor", "compare", old, tmp_path / "ol.csv", "--json")
    assert found.code == 1
    assert found.json()["error"]["fix"] == "did you mean 'old.csv'?"


def test_backtest_says_what_would_have_paged_and_since_when(kaizen, tmp_path):
    old = table(tmp_path / "old.csv", 3000, 0, seed=1)
    stream = table(tmp_path / "calm.csv", 1000, 0, seed=2, first=60)
    rest = table(tmp_path / "rest.csv", 1000, 2, seed=3, first=80).read_text().partition("\n")[2]
    stream.write_text(stream.read_text() + rest)
    asked = ("--target", "truth", "--prediction", "guess")
    answer = json.loads(kaizen("monitor", "backtest", old, stream, *asked, "--json").out)
    pages = {f["subject"]: f for f in answer["told"] if f["verdict"] == "page"}
    assert set(pages) == {"size", "log_loss"}
    assert pages["size"]["began"][:10] in ("2024-03-20", "2024-03-21", "2024-03-22")  # the eightieth day
    assert "2024-03-2" in pages["size"]["at"]
    assert "2 changes would have paged in 40 days" in kaizen("monitor", "backtest", old, stream, *asked).out
    quiet = json.loads(kaizen("monitor", "backtest", old, old, "--json").out)
    assert quiet["told"] == []


def test_report_writes_a_page(kaizen, tmp_path):
    old, new = table(tmp_path / "old.csv", 2000, 0, seed=1), table(tmp_path / "new.csv", 1000, 2, seed=2, first=40)
    found = kaizen("monitor", "report", old, new, "--out", tmp_path / "page.html", "--json")
    assert json.loads(found.out)["page"] is True
    assert "1 of 4 columns changed: size." in (tmp_path / "page.html").read_text("utf-8")


def test_a_report_needs_two_tables_or_a_project(kaizen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old = table(tmp_path / "old.csv", 100, 0, seed=1)
    alone = kaizen("monitor", "report", old)
    assert "name a second table, or none" in alone.err
    nowhere = kaizen("monitor", "report", "--folder", tmp_path)
    assert nowhere.code != 0
    assert not (tmp_path / "report.html").exists()
