"""Rule table_embryoid_heldout: errors of inner snapshots that were predicted from all the others."""

from jko import readable, tables
from jko.tables import held_out

metrics = tables.read_metrics(snakemake.input.metrics)
params = snakemake.params
table = held_out.long(metrics, params.datasets, params.methods, params.references)
summary = held_out.summary(table, dict(enumerate(params.days)))
titles = {
    "w1": "EMD of the snapshot held out (dimensionless), by its days",
    "w2": "W2 of the snapshot held out (dimensionless), by its days",
}
text = readable.sections(summary, titles, ["method", "scheme"], ["heldout"])
readable.write(table, text, snakemake.output.tsv, snakemake.output.md)
with open(snakemake.log[0], "w") as log:
    print(text, file=log)
