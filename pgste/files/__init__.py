# SPDX-License-Identifier: MIT
"""What all files have in common, whatever is in them.

========== ============================================================================
`saving`   the one way in which a file is written: whole or not at all
`owned`    names of temporary things, which tell whose they are
`texts`    JSON from anyone, bounded in depth, in digits and in bytes
========== ============================================================================
"""
