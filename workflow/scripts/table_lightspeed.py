"""Rule table_lightspeed: errors of every method on every landscape, and seconds of an epoch of each."""

import pandas as pd

from jko import readable, tables
from jko.tables import costs, errors

metrics = tables.read_metrics(snakemake.input.metrics)
params = snakemake.params
found = errors.of_datasets(
    metrics, params.datasets, params.metrics, params.methods, params.references
)
spans = zip(params.methods, snakemake.input.spans, strict=True)
seconds = costs.epoch_rows(costs.per_epoch(spans), params.methods)
table = pd.concat([found, seconds], ignore_index=True)
text = readable.sections(table, readable.TITLES, ["landscape"], ["method", "scheme"])
readable.write(table, text, snakemake.output.tsv, snakemake.output.md)
with open(snakemake.log[0], "w") as log:
    print(text, file=log)
