"""Rules table_potentials, table_embryoid_causes and table_ijkonet_fig2 to _fig4: errors per dataset and method."""

from jko import readable, tables
from jko.tables import errors

metrics = tables.read_metrics(snakemake.input.metrics)
params = snakemake.params
table = errors.of_datasets(
    metrics, params.datasets, params.metrics, params.methods, params.references
)
text = readable.sections(table, readable.TITLES, **params.layout)
readable.write(table, text, snakemake.output.tsv, snakemake.output.md)
with open(snakemake.log[0], "w") as log:
    print(text, file=log)
