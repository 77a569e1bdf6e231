"""Rule table_cost_per_epoch: seconds of an epoch of every method."""

from jko import readable
from jko.tables import costs

table = costs.per_epoch(dict(zip(snakemake.params.methods, snakemake.input.spans, strict=True)))
seconds = [name for name in table.columns if name.endswith("_s")]
text = readable.markdown(table.assign(**table[seconds].map("{:.3g}".format)))
readable.write(table, text, snakemake.output.tsv, snakemake.output.md)
with open(snakemake.log[0], "w") as log:
    print(text, file=log)
