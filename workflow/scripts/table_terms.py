"""Rule table_general_energies: errors of every term of the energy over a grid, and their medians."""

from jko import readable, tables
from jko.tables import terms

metrics = tables.read_metrics(snakemake.input.metrics)
params = snakemake.params
table = terms.of_grid(metrics, params.datasets, params.methods, params.references, params.excluded)
text = readable.terms(terms.by_beta(table), terms.causes(table))
readable.write(table, text, snakemake.output.tsv, snakemake.output.md)
with open(snakemake.log[0], "w") as log:
    print(text, file=log)
