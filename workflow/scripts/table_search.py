"""Rule table_search: the errors of every candidate of a search."""

from jko import readable, tables
from jko.tables import errors

metrics = tables.read_metrics(snakemake.input.metrics)
table = errors.search(metrics, snakemake.params.datasets, snakemake.params.candidates)
text = readable.sections(table, readable.TITLES, ["method", "candidate", "scheme"], ["dataset"])
readable.write(table, text, snakemake.output.tsv, snakemake.output.md)
with open(snakemake.log[0], "w") as log:
    print(text, file=log)
