"""Rule table_embryoid: the cells' one-step EMD per method and day interval."""

from jko import readable, tables
from jko.tables import cells

metrics = tables.read_metrics(snakemake.input.metrics)
params = snakemake.params
table = cells.intervals(metrics, params.dataset, params.methods, params.references, params.days)
wide = readable.wide(table, ["method", "scheme"], ["interval"])
text = readable.markdown(wide) + readable.failures(table)
readable.write(table, text, snakemake.output.tsv, snakemake.output.md)
with open(snakemake.log[0], "w") as log:
    print(text, file=log)
