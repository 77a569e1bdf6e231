"""Rule table_scaling: errors and seconds of every method by dimension and number of particles."""

import itertools

from jko import readable, tables
from jko.tables import costs, scaling

metrics = tables.read_metrics(snakemake.input.metrics)
params = snakemake.params
fits = list(itertools.product(params.datasets, params.methods))
jobs = costs.of_fits(fits, snakemake.input.train, snakemake.input.couple)
table = scaling.of_grid(metrics, params.datasets, params.methods, params.references, jobs)
summary = scaling.summary(table)
layout = {"index": ["method", "particles"], "columns": ["dimension"], "by": ["potential"]}
text = readable.sections(summary, readable.TITLES, **layout)
readable.write(table, text, snakemake.output.tsv, snakemake.output.md)
with open(snakemake.log[0], "w") as log:
    print(text, file=log)
