# SPDX-License-Identifier: MIT
"""What the documents say is run."""
