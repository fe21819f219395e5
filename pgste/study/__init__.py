# SPDX-License-Identifier: MIT
"""Studies: traces through the mechanisms, and what is made of the figures.

============= =========================================================================
`compare`     `compare`: one trace through several mechanisms
`result`      `Comparison`: what it tells
`sizes`       how large host and guests are for a trace
`batch`       `run_all`: many replays at once
`costs`       `Profile`: what things cost on a machine, and estimated times
`pagecache`   volatile pages under z/VM, as I/O
`plot`        pictures: memory over time, the map of pages
`figure`      what all pictures share
`picture`     what a picture needs, asked before the work
============= =========================================================================
"""
