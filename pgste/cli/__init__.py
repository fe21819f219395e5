# SPDX-License-Identifier: MIT
"""The command line: a table of verbs, one module each, imported when it is asked for.

A verb's module has `add_arguments(parser)` and `run(args, console) -> exit status`.  Results go
to standard output, progress and errors to standard error; exit status 0 is success, 1 a failure,
2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from pgste._engine.names import VERSION
from pgste.errors import PgsteError

__all__ = ["VERBS", "main"]

VERBS = {
    "compare": "replay a page allocator trace through the mechanisms, side by side",
    "guarantees": "tell what each mechanism guarantees, by searching every state of small systems",
    "info": "show what is in a trace",
    "map": "draw the states of all pages at one moment of a replay",
    "live": "compare the model with the real kernel, and replay a trace on it",
    "calibrate": "measure what hints, page faults and swap cost on this machine",
    "record": "record this machine's page allocator while a command runs",
    "scenario": "run a scenario of the guest's free and alloc path, or judge an order of its steps",
}
"""Verbs, each the name of its module in this folder, and what `pgste --help` says of them."""


def _parser(asked: str | None) -> argparse.ArgumentParser:
    """The parser of the command line, which knows the arguments of the verb that was asked for."""
    parser = argparse.ArgumentParser(
        prog="pgste",
        description="Guest page states of s390x and free-page mechanisms: replay, compare, prove.",
    )
    parser.add_argument("--version", action="version", version=f"pgste {VERSION}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, text in VERBS.items():
        sub = verbs.add_parser(verb, help=text, description=text)
        if verb == asked:
            module = import_module(f"{__name__}.{verb}")
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    words = sys.argv[1:] if argv is None else argv
    # All options before the verb end the program, so the first other word is the verb.
    asked = next((word for word in words if not word.startswith("-")), None)
    args = _parser(asked).parse_args(words)
    from rich.console import Console  # of no use to --version and --help

    try:
        status: int = args.run(args, Console(emoji=False))
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("pgste: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the reader has gone; Python would complain once more when it closes the stream
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (PgsteError, OSError, ValueError) as error:
        print(f"pgste: {error}", file=sys.stderr)
        return 1
    except (MemoryError, RecursionError, OverflowError) as error:
        # Readers name the file and their budget; this is for what no one thought of.
        print(f"pgste: this machine has no room for it: {error!r}", file=sys.stderr)
        return 1
    return status
