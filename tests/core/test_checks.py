"""What a check may say, and what is said of one that cannot be."""

from __future__ import annotations

import pytest

from kaizen.core.checks import broken
from kaizen.core.condition import Among, Compared, Constant, Every, Missing, Name, Some, columns_in, terms
from kaizen.core.errors import ProjectError
from kaizen.core.projectfile import parse
from kaizen.core.records import Column

COLUMNS = (
    Column("fare", "number"),
    Column("total", "number"),
    Column("status", "category"),
    Column("pickup", "time"),
    Column("dropoff", "time"),
    Column("member", "boolean"),
    Column("trip distance", "number"),
    Column("größe", "number"),
    Column("class", "category"),
)


def read(text):
    return broken(text, COLUMNS, where="kaizen.toml: data.checks.it")


def test_what_is_read_is_when_a_row_breaks_it():
    fare, total = Name("fare", "number"), Name("total", "number")
    assert read("fare == total") == Compared("!=", fare, total)
    assert read("0 <= fare < 9") == Some(
        (Compared(">", Constant(0.0, "number"), fare), Compared(">=", fare, Constant(9.0, "number")))
    )
    void = Compared("==", Name("status", "text"), Constant("void", "text"))
    assert read("status != 'void' or fare == 0") == Every((void, Compared("!=", fare, Constant(0.0, "number"))))
    assert read("not (fare is missing and member)") == Every(
        (
            Missing(fare, negated=False),
            Compared("==", Name("member", "number", is_boolean=True), Constant(1.0, "number")),
        )
    )
    assert read("status in ('a', 'b', 'a')") == Among(Name("status", "text"), ("a", "b"), negated=True)


def test_a_text_beside_a_time_is_a_time():
    pickup = Name("pickup", "time")
    assert read("pickup >= '1970-01-02'") == Compared("<", pickup, Constant(86_400_000_000, "time"))
    assert read("pickup >= '1970-01-01T02:00:00+02:00'") == Compared("<", pickup, Constant(0, "time"))


def test_names_are_taken_as_they_are_written():
    assert columns_in(read("`trip distance` > größe and `class` == 'x'")) == {"trip distance", "größe", "class"}
    assert columns_in(read("status == '`x`' or fare > 1")) == {"status", "fare"}


def test_the_size_of_a_sum_is_that_of_its_terms():
    found = read("fare + total - 3 * `trip distance` == größe")
    assert isinstance(found, Compared)
    assert [columns_in(term) for term in terms(found.left, found.right)] == [
        {"fare"}, {"total"}, {"trip distance"}, {"größe"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fair > 1", "there is no column 'fair' (character 1 of 'fair > 1')\n  → did you mean 'fare'?"),
        ("fare > 1 and größ > 2", "there is no column 'größ' (character 14 of"),
        ("fare + 'x' == 2", "\"'x'\" is a text, not a number (character 8 of"),
        ("status == 1", "'status' is a text and '1' is a number (character 11 of"),
        ("status == 'a' or status == fare", "(character 28 of"),
        ("pickup > '2018-13-01'", "'2018-13-01' is no time (character 10 of"),
        ("pickup - 3 > 1", "'pickup' is a time and '3' is a number"),
        ("status == ''", "an empty text is a missing value (character 11 of"),
        ("fare is None", "nothing but 'missing' follows is: 'None'"),
        ("fare == null", "'null' is no column"),
        ("fare", "'fare' is a number, not a condition (character 1 of 'fare')\n  → compare it: a <= b"),
        ("fare ==", "it cannot be read: invalid syntax"),
        ("(fare > 1", "it cannot be read: '(' was never closed"),
        ("class == 'x'", "it cannot be read: invalid syntax"),
        ("", "it cannot be read"),
        ("1 < 2", "it names no column"),
        ("fare > 1e999", "is no number or text"),
        ("fare > 2j", "is no number or text"),
        ("fare % 2 == 0", "'fare % 2' has no meaning here"),
        ("fare if member else 1", "has no meaning here"),
        ("fare.real > 1", "'fare.real' has no meaning here"),
        ("(lambda: fare)() > 1", "is no function of checks"),
        ("__import__('os').system('x') > 1", "is no function of checks"),
        ("abs(fare, 1) > 1", "abs takes one number, not 2"),
        ("min(fare) > 1", "min takes two or more, not 1"),
        ("max(*fare) > 1", "max takes two or more, not 1"),
        ("status in fare", "a list follows in, not 'fare'"),
        ("status in ('a', class)", "it cannot be read"),
        ("status in ('a', `class`)", "a list holds constants, not '`class`'"),
        ("`fare > 1", "a backtick is not closed (character 1 of"),
        ("fare > `` ", "a name between backticks is empty (character 8 of"),
        ("abs(" * 5 + "fare" + ")" * 5 + " > 1", "functions nest more than 3 deep"),
        ("-" * 60 + "fare > 1", "it nests more than 32 deep"),
        ("not " * 300 + "member", "it has 1206 characters, and 1000 are the most"),
        ("(" * 300 + "fare" + ")" * 300 + " > 1", "it cannot be read: too many nested parentheses"),
        ("fare > 1 \0", "it cannot be read"),
    ],
)
def test_what_is_no_check_is_refused_with_place_and_way_out(text, says):
    with pytest.raises(ProjectError, match=r"^kaizen\.toml: data\.checks\.it: ") as caught:
        read(text)
    assert says in str(caught.value)


def test_the_project_file_is_refused_for_a_check_that_cannot_be_read():
    raw = {"project": {"name": "x"}, "data": {"source": "x.csv", "target": "y", "checks": {"sum": "a + b = c"}}}
    with pytest.raises(ProjectError, match=r"data\.checks\.sum: it cannot be read"):
        parse(raw)
    raw["data"]["checks"] = {"sum": "anything + b == true"}  # what the columns are is known later
    assert parse(raw).data.checks == {"sum": "anything + b == true"}
