"""Simulate one synthetic dataset and write its snapshots."""

from functools import partial

from jko.simulation import simulate_snapshots
from jko.snapshots import save

with open(snakemake.log[0], "w") as log:
    report = partial(print, file=log, flush=True)
    save(simulate_snapshots(snakemake.params.dataset, report), snakemake.output.snapshots)
