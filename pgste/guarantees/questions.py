# SPDX-License-Identifier: MIT
"""The rows of the table: what a guest may ask about a page that it freed."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["QUESTIONS", "Question"]


@dataclass(frozen=True)
class Question:
    """A row: `shown_by` is what the core looks for; found, the answer is `found`."""

    key: str
    text: str
    shown_by: str
    found: str
    good: str  # the answer that is a promise to the guest
    stem: str = ""  # what a text that begins with "…" goes on from

    @property
    def whole(self) -> str:
        """The text as it stands alone."""
        return self.text.replace("…", self.stem)

    @property
    def otherwise(self) -> str:
        return "no" if self.found == "yes" else "yes"


QUESTIONS = (
    Question("zero-after-free", "zero right after free?", "free_not_zero", "no", "yes"),
    Question("zero-after-zap", "zero after the zap?", "zap_not_zero", "no", "yes"),
    Question("zero-after-alloc", "zero after alloc?", "alloc_not_zero", "no", "yes"),
    Question("zapped-ever", "may a free page be zapped?", "zapped", "yes", "yes"),
    Question("zapped-at-once", "must it be zapped at once?", "not_zapped_at_once", "no", "yes"),
    Question(
        "zapped-under-pressure",
        "… under pressure?",
        "not_zapped_later",
        "no",
        "yes",
        stem="must it be zapped",
    ),
    Question("stale", "may stale data reappear?", "stale", "yes", "no"),
    Question(
        "stale-after-zero",
        "… after it once read as zero?",
        "stale_after_zero",
        "yes",
        "no",
        stem="may stale data reappear",
    ),
    Question("touch-while-free", "may a free page be touched?", "touch_faults", "no", "yes"),
    Question("lost-after-alloc", "store lost: made after alloc?", "lost_in_use", "yes", "no"),
    Question(
        "lost-before-alloc",
        "… between free and alloc?",
        "lost_free",
        "yes",
        "no",
        stem="store lost: made",
    ),
    Question(
        "lost-without-alloc",
        "… with alloc skipped?",
        "lost_taken",
        "yes",
        "no",
        stem="store lost: made",
    ),
    Question(
        "lost-racing",
        "… while the host is told?",
        "lost_raced",
        "yes",
        "no",
        stem="store lost: made",
    ),
    Question("announce-reuse", "must reuse be announced?", "reuse_fails", "yes", "no"),
    Question("zap-harms", "may a zap harm another page?", "zap_harms", "yes", "no"),
    Question("entry-lost", "can the list lose an entry?", "entry_lost", "yes", "no"),
    Question(
        "entry-twice",
        "… free an entry twice?",
        "entry_freed_twice",
        "yes",
        "no",
        stem="can the list",
    ),
    Question(
        "stable-zero",
        "stable with ZERO set survives?",
        "stable_zero_lost",
        "no",
        "yes",
    ),
)
