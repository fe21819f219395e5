# SPDX-License-Identifier: MIT
"""The rows of the table: what a guest may ask about a page that it freed.

The C core has the one table of them (`PGSTE_QUESTIONS` in src_c/pgste/search.h).
"""

from __future__ import annotations

from dataclasses import dataclass

from pgste._engine.search import QUESTION_ROWS

__all__ = ["DETAILS", "QUESTIONS", "Question"]


@dataclass(frozen=True)
class Question:
    """A row: the search looks for something that may happen; if it does, the answer is `found`."""

    key: str
    text: str
    found: str
    good: str  # the answer that is a promise to the guest
    stem: str  # what a text that begins with "…" goes on from

    @property
    def whole(self) -> str:
        """The text as it stands alone."""
        return self.text.replace("…", self.stem)

    @property
    def otherwise(self) -> str:
        return "no" if self.found == "yes" else "yes"


_ALL = tuple(Question(key, text.replace("...", "…"), *rest) for key, text, *rest in QUESTION_ROWS)
QUESTIONS = tuple(question for question in _ALL if question.text)
#: Keys of what the search finds out beside: details of another question's answer.
DETAILS = tuple(question.key for question in _ALL if not question.text)
