"""Rule estimate_density: the density of every train snapshot, for every seed."""

from functools import partial

from jko import densities, snapshots

with open(snakemake.log[0], "w") as log:
    report = partial(print, file=log, flush=True)
    data = snapshots.load(snakemake.input.snapshots)
    mixtures = densities.estimate(data, snakemake.params.density, report)
    densities.save(mixtures, snakemake.output.density)
