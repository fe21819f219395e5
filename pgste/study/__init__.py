# SPDX-License-Identifier: MIT
"""Studies: traces through the mechanisms, and what is made of the figures.

============= =========================================================================
`compare`     `compare`: one trace through several mechanisms
`result`      `Comparison`: what it tells
`curve`       `curve`: swap traffic and faults over the size of the host
`fleet`       `Fleet`: different guests on one host
`footprint`   `footprint`: what a guest holds over time, by how free memory comes back
`smallest`    `smallest_hosts`: the smallest host for each mechanism
`sizes`       how large host and guests are for a trace
`batch`       `run_all`: many replays at once
`costs`       `Profile`: what things cost on a machine, and estimated times
`breakeven`   costs that a user gives, and who is ahead up to which cost
`pagecache`   volatile pages under z/VM, as I/O
`sweep`       `sweep`: a grid of settings, on all CPUs or on a cluster
`grid`        axes of a grid, and its cells
`cell`        one cell, as a worker runs it
`mixture`     guests that live through parts of different traces
`workers`     processes of which each can die alone
`store`       results of a sweep on disk, as they come
`plot`        pictures: memory over time, the map of pages
`curve_plot`  picture of a curve
`footprint_plot`  picture of a footprint
`sweep_plot`  the picture of a sweep
`figure`      what all pictures share
`picture`     what a picture needs, asked before the work
============= =========================================================================
"""
