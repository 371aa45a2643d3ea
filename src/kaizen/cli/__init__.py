"""The command line: one file a verb, imported only when it is called."""

from __future__ import annotations

import errno
import importlib.metadata
import sys
from collections.abc import Callable
from typing import Any

import click

from kaizen.cli import verbs
from kaizen.cli.output import report_error
from kaizen.core import plugins
from kaizen.core.errors import KaizenError, StoreError, UsageError, nearest

__all__ = ["main"]


class Verbs(click.Group):
    """A group whose commands are loaded when they are asked for; the help needs only their first lines."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the verbs in the order in which a person meets them."""
        return list(verbs.SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a verb's command, or None."""
        return verbs.command(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of verbs without loading any."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(verbs.SUMMARIES.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command, or say which verb is nearest."""
        if args and args[0] not in verbs.SUMMARIES and not args[0].startswith("-"):
            ctx.fail(f"there is no verb {args[0]!r}; {nearest(args[0], verbs.SUMMARIES)}")
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(importlib.metadata.version("kaizen-ml"), prog_name="kaizen")
def group() -> None:
    """Take a model from research to production and keep it good there."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 0, with 1 after an error of ours, with 2 after wrong usage."""
    given = sys.argv[1:] if arguments is None else arguments
    call: Callable[..., Any] = group.main
    try:
        code = call(given, prog_name="kaizen", standalone_mode=False)
    except click.exceptions.Exit as err:
        code = err.exit_code
    except click.ClickException as err:
        _report_usage(err, as_json="--json" in given)
        code = err.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        code = 130
    except KaizenError as err:
        report_error(err, as_json="--json" in given)
        code = 1
    except ModuleNotFoundError as err:
        if (err.name or "").startswith("kaizen"):
            raise
        report_error(plugins.missing(err), as_json="--json" in given)
        code = 1
    except BrokenPipeError:
        code = 0
    except OSError as err:
        report_error(_of_system(err), as_json="--json" in given)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _report_usage(err: click.ClickException, *, as_json: bool) -> None:
    """Say how the command is used; for programs as the same JSON as every other error."""
    if not as_json:
        err.show()
        return
    context = err.ctx if isinstance(err, click.UsageError) else None
    fix = f"{context.command_path} --help" if context else "kaizen --help"
    report_error(UsageError(err.format_message(), fix=fix), as_json=True)


def _of_system(err: OSError) -> KaizenError:
    """Return the error of a file or disk that no adapter had in its hands, such as a report that cannot be written."""
    is_full = err.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    fix = "make room and run it again: what was done is kept" if is_full else "check the path and its rights"
    return StoreError((err.strerror or str(err)).lower(), where=str(err.filename or ""), fix=fix)
