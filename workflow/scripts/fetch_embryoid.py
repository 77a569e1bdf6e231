"""Download one file of the embryoid body cells."""

from functools import partial

from jko import embryoid

with open(snakemake.log[0], "w") as log:
    report = partial(print, file=log, flush=True)
    embryoid.fetch(snakemake.wildcards.file, snakemake.output.file, report)
