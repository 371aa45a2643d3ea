"""The verbs, and how each is loaded: a verb is a file or folder of its own beside this one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

SUMMARIES = {
    "demo": "See the whole loop work on a year of real flights",
    "init": "Make a project from a table",
    "data": "Profile, validate and freeze a project's rows",
    "learn": "Find a model, pack it and register it: data to bundle",
    "bundle": "List, show, verify, import and export what ships",
    "serve": "Serve the project's endpoint over HTTP",
    "key": "Make, list and take back the keys that callers show",
    "feedback": "Tell what turned out to be true",
    "monitor": "See what is watched and what fired",
    "experiment": "See how the challenger stands",
    "loop": "Run the loop, read its decisions, and steer it",
    "doctor": "Say what is installed, reachable and misconfigured",
}


def command(verb: str) -> click.Command | None:
    """Return the click command of a verb, importing its module now, or None if there is no such verb."""
    if verb == "demo":
        from kaizen.cli import demo

        return demo.command
    if verb == "init":
        from kaizen.cli import init

        return init.command
    if verb == "data":
        from kaizen.cli import data

        return data.command
    if verb == "learn":
        from kaizen.cli import learn

        return learn.command
    if verb == "bundle":
        from kaizen.cli import bundle

        return bundle.command
    if verb == "serve":
        from kaizen.cli import serve

        return serve.command
    if verb == "key":
        from kaizen.cli import key

        return key.command
    if verb == "feedback":
        from kaizen.cli import feedback

        return feedback.command
    if verb == "monitor":
        from kaizen.cli import monitor

        return monitor.command
    if verb == "experiment":
        from kaizen.cli import experiment

        return experiment.command
    if verb == "loop":
        from kaizen.cli import loop

        return loop.command
    if verb == "doctor":
        from kaizen.cli import doctor

        return doctor.command
    return None
