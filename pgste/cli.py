# SPDX-License-Identifier: MIT
"""The command line: a table of verbs, and what they have in common.

Each verb is a module's pair of functions: `add_arguments(parser)` and
`run(args, console) -> exit status`.  Results go to standard output, progress and errors to
standard error; exit status 0 is success, 1 a failure, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console

from pgste import (
    PgsteError,
    __version__,
    cli_calibrate,
    cli_compare,
    cli_guarantees,
    cli_info,
    cli_live,
    cli_map,
    cli_record,
    cli_scenario,
)
from pgste.errors import TraceError

__all__ = ["main"]


@dataclass(frozen=True)
class Verb:
    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Console], int]


VERBS = (
    Verb(
        "compare",
        "replay a page allocator trace through the mechanisms, side by side",
        cli_compare.add_arguments,
        cli_compare.run,
    ),
    Verb(
        "guarantees",
        "answer what each mechanism guarantees, by searching every state of small systems",
        cli_guarantees.add_arguments,
        cli_guarantees.run,
    ),
    Verb(
        "info",
        "show what is in a trace",
        cli_info.add_arguments,
        cli_info.run,
    ),
    Verb(
        "map",
        "draw the states of all pages at one moment of a replay",
        cli_map.add_arguments,
        cli_map.run,
    ),
    Verb(
        "live",
        "compare the model with the real kernel, and replay a trace on it",
        cli_live.add_arguments,
        cli_live.run,
    ),
    Verb(
        "calibrate",
        "measure what hints, page faults and swap cost on this machine",
        cli_calibrate.add_arguments,
        cli_calibrate.run,
    ),
    Verb(
        "record",
        "record this machine's page allocator while a command runs",
        cli_record.add_arguments,
        cli_record.run,
    ),
    Verb(
        "scenario",
        "run a scenario of the guest's free and alloc path, or judge an order of its steps",
        cli_scenario.add_arguments,
        cli_scenario.run,
    ),
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pgste",
        description="Guest page states of s390x and free-page mechanisms: replay, compare, prove.",
    )
    parser.add_argument("--version", action="version", version=f"pgste {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in VERBS:
        sub = verbs.add_parser(verb.name, help=verb.help, description=verb.help)
        verb.add_arguments(sub)
        sub.set_defaults(run=verb.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    args = _parser().parse_args(argv)
    try:
        status: int = args.run(args, Console())
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("pgste: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the reader has gone; Python would complain once more when it closes the stream
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (PgsteError, TraceError, OSError, ValueError) as error:
        print(f"pgste: {error}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
