# SPDX-License-Identifier: MIT
"""The free path: what a guest's kernel does to a page between its owners.

============= =========================================================================
`orders`      steps, the orders in which kernels take them, options of the command line
`kernels`     which releases have which order, and which of them crash
`allocator`   `AllocatorPath`: the steps over the pages of a `pgste.Guest`
`page`        a page as the engine has it, and its content in words
`judge`       `judge`: what is wrong with an order
`run`         a run over one page of interest, and what its steps did
`scenarios`   runs that go wrong, or would but for one rule
============= =========================================================================
"""

from pgste.freepath.allocator import AllocatorPath, StepResult
from pgste.freepath.kernels import BUGS, KERNELS, Bug, Kernel
from pgste.freepath.orders import (
    KASAN,
    NOT_ASKED_FOR,
    ORDERS,
    STEPS,
    Boot,
    Kasan,
    Order,
    Stage,
    Step,
    Touch,
    order_of,
)
from pgste.freepath.page import POISON, PageView, describe, poison_report, view

__all__ = [
    "BUGS",
    "KASAN",
    "KERNELS",
    "NOT_ASKED_FOR",
    "ORDERS",
    "POISON",
    "STEPS",
    "AllocatorPath",
    "Boot",
    "Bug",
    "Kasan",
    "Kernel",
    "Order",
    "PageView",
    "Stage",
    "Step",
    "StepResult",
    "Touch",
    "describe",
    "order_of",
    "poison_report",
    "view",
]
