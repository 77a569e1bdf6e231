"""Rule table_embryoid: the cells' one-step EMD per method and day interval."""

from jko import tables

metrics = tables.read_metrics(snakemake.input.metrics)
params = snakemake.params
table = tables.intervals(metrics, params.dataset, params.methods, params.references, params.days)
wide = tables.wide(table, ["method", "scheme"], ["interval"])
text = tables.markdown(wide) + tables.failures(table)
tables.write(table, text, snakemake.output.tsv, snakemake.output.md)
with open(snakemake.log[0], "w") as log:
    print(text, file=log)
