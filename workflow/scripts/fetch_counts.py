"""Download the archive of raw counts that a dataset names."""

from functools import partial

from jko.download import fetch

source = snakemake.params
with open(snakemake.log[0], "w") as log:
    report = partial(print, file=log, flush=True)
    fetch(source.url, snakemake.output.archive, source.sha256, report)
