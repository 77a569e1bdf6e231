"""Rule table_coupling_ablation: errors by the coupling that a method learned from, and its cost."""

import itertools

import pandas as pd

from jko import readable, tables
from jko.tables import costs, errors

metrics = tables.read_metrics(snakemake.input.metrics)
params = snakemake.params
found = errors.of_datasets(
    metrics, params.datasets, params.metrics, params.methods, params.references
)
fits = list(itertools.product(params.datasets, params.methods))
jobs = costs.of_fits(fits, snakemake.input.train, snakemake.input.couple)
table = pd.concat([found, costs.rows(jobs, params.datasets, params.methods)], ignore_index=True)
table.insert(1, "coupling", table["method"].map(params.couplings).fillna("none"))
text = readable.sections(table, readable.TITLES, ["method", "coupling", "scheme"], ["landscape"])
readable.write(table, text, snakemake.output.tsv, snakemake.output.md)
with open(snakemake.log[0], "w") as log:
    print(text, file=log)
