"""The campaign of faults: kills, damage, full disks, bad input and hostile folders, drawn by kind and tried for real.

    python -m recipes.faults                       a drawn third of the cases
    python -m recipes.faults --all                 every case
    python -m recipes.faults --kinds caches,disks  some kinds; their names are in `recipes.faults.kinds`
    python -m recipes.faults --only NAME --keep    one case by its name, with what it left

It needs Linux. A case is one way in which something can go wrong; it is clean where zskd does what it promises then
(docs/reliability.md). Cases are drawn from a seed, so a seed names them all.
"""
