# SPDX-License-Identifier: MIT
"""The command line: a table of verbs, one module each, imported when it is asked for.

A verb's module has `add_arguments(parser)` and `run(args, console) -> exit status`.  Results go
to standard output, progress and errors to standard error.  Errors are one line each, and no
traceback: whatever a user types and a file holds is foreseen.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import textwrap
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from pgste._engine.names import VERSION
from pgste.errors import PgsteError

__all__ = ["VERBS", "main"]

VERBS = {
    "compare": "replay a page allocator trace through the mechanisms, side by side",
    "curve": "show swap traffic and faults of each mechanism over every size of the host",
    "footprint": "show what host memory a guest holds over time, by how free memory comes back",
    "size": "find the smallest host for each mechanism",
    "sweep": "replay a grid of settings on all CPUs, or on a cluster",
    "guarantees": "tell what each mechanism guarantees, by searching every state of small systems",
    "info": "show what is in a trace",
    "map": "draw the states of all pages at one moment of a replay",
    "live": "compare the model with the real kernel, and replay a trace on it",
    "calibrate": "measure what hints, page faults and swap cost on this machine",
    "record": "record this machine's page allocator while a command runs",
    "cmma": "show what a migration stream of page states holds",
    "scenario": "run a scenario of the guest's free and alloc path, or judge an order of its steps",
}
"""Verbs, each the name of its module in this folder, and what `pgste --help` says of them."""


_EPILOG = (
    "Exit status: 0 done; 1 failed; 2 wrong usage; 3 done, but some of what was asked for was "
    "skipped or not there; 130 interrupted."
)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors show foreign text escaped; so are those of its verbs."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Formatter, **options)

    def error(self, message: str) -> NoReturn:
        from pgste.cli.words import one_line  # of no use if all goes well

        super().error(one_line(message))


class _Formatter(argparse.HelpFormatter):
    """Breaks lines between words only: names of questions and steps have hyphens in them."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        words = " ".join(text.split())
        return textwrap.fill(
            words, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        )


def _parser(asked: str | None) -> argparse.ArgumentParser:
    """The parser of the command line, which knows the arguments of the verb that was asked for."""
    parser = _Parser(
        prog="pgste",
        epilog=_EPILOG,
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
    try:
        _prepare_streams()
        try:
            # All options before the verb end the program, so the first other word is the verb.
            asked = next((word for word in words if not word.startswith("-")), None)
            args = _parser(asked).parse_args(words)
            from pgste.cli.terminal import Screen  # of no use to --version and --help

            status: int = args.run(args, Screen())
        except SystemExit:
            sys.stdout.flush()
            raise
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        _leave_stdout()
        print("pgste: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _leave_stdout()
        return 141
    except Exception as error:
        if os.environ.get("PGSTE_TRACEBACK"):
            raise
        _leave_stdout()
        _complain(error)
        return 1


def _prepare_streams() -> None:
    """Standard streams that are there and take every character."""
    closed = [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None]
    for name in closed:
        # Else the next file that is opened gets the number of the stream, and what is printed.
        setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if "stdout" in closed:
        raise OSError("standard output is closed")


def _leave_stdout() -> None:
    """Let go of what cannot be written: Python would complain once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):  # a stream without a number needs nothing
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(error: Exception) -> None:
    """One line on standard error that says what went wrong."""
    try:
        from pgste.cli.words import one_line

        print(f"pgste: {one_line(_reason(error))}", file=sys.stderr)
    except (MemoryError, RecursionError):
        os.write(2, b"pgste: out of memory\n")
    except OSError:
        pass  # nobody listens


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError) and not isinstance(error, PgsteError):
        return f"out of memory: {error}" if str(error) else "out of memory"
    if isinstance(error, RecursionError):
        return "something is nested too deep"
    if isinstance(error, OverflowError):
        return f"a number is too large: {error}"
    if isinstance(error, (PgsteError, OSError, ValueError, ImportError)):
        return str(error)
    return (
        f"internal error, please report it (PGSTE_TRACEBACK=1 shows where): "
        f"{type(error).__name__}: {error}"
    )
