# SPDX-License-Identifier: MIT
"""What each free-page mechanism guarantees, proved by searching every state of tiny systems.

============= =========================================================================
`search`      `guarantees` and `explain`: searches, and the answers they give
`columns`     mechanisms as some hypervisor has them
`questions`   what a guest may ask
`systems`     sizes of the systems that are searched
`result`      `Guarantees`: an answer for each question and mechanism
`kernels`     `bisect`: in which releases an answer changed, and by which commit
`witness`     a run that shows an answer, played step by step
`timeline`    a picture of that
============= =========================================================================
"""

from pgste.guarantees.columns import ASSUMPTIONS, MECHANISMS, Subject
from pgste.guarantees.kernels import SPANS, Bisect, Span, bisect
from pgste.guarantees.questions import QUESTIONS, Question
from pgste.guarantees.result import Cell, Guarantees, cell_text
from pgste.guarantees.search import explain, guarantees
from pgste.guarantees.systems import DEEP_SYSTEMS, SYSTEMS, System

__all__ = [
    "ASSUMPTIONS",
    "DEEP_SYSTEMS",
    "MECHANISMS",
    "QUESTIONS",
    "SPANS",
    "SYSTEMS",
    "Bisect",
    "Cell",
    "Guarantees",
    "Question",
    "Span",
    "Subject",
    "System",
    "bisect",
    "cell_text",
    "explain",
    "guarantees",
]
