"""Rule table_cost_per_epoch: seconds of an epoch of every method."""

import itertools

from jko import readable
from jko.tables import costs

params = snakemake.params
fits = itertools.product(params.datasets, params.methods)
methods = [method for _, method in fits]
table = costs.per_epoch(zip(methods, snakemake.input.spans, strict=True))
seconds = [name for name in table.columns if name.endswith("_s")]
text = readable.markdown(table.assign(**table[seconds].map("{:.3g}".format)))
readable.write(table, text, snakemake.output.tsv, snakemake.output.md)
with open(snakemake.log[0], "w") as log:
    print(text, file=log)
