"""Rule couple: couplings of neighbouring train snapshots, for every seed."""

from functools import partial

from jko import couplings, snapshots

with open(snakemake.log[0], "w") as log:
    report = partial(print, file=log, flush=True)
    data = snapshots.load(snakemake.input.snapshots)
    rows = couplings.couple_snapshots(data, snakemake.params.coupling, report)
    couplings.save(rows, snakemake.output.coupling)
