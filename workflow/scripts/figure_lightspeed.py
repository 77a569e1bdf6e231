"""Rule figure_lightspeed: errors on every landscape, and seconds of an epoch of every method."""

import pandas as pd

from jko import tables
from jko.plotting import lightspeed, style

params = snakemake.params
table = pd.read_csv(snakemake.input.table, sep="\t")
errors = tables.select(table, metric="w1")
seconds = tables.select(table, metric="epoch_seconds").set_index("method")["mean"]
figure = lightspeed.errors_and_seconds(errors, seconds, params.methods)
style.save(figure, snakemake.output.pdf, snakemake.output.png)
with open(snakemake.log[0], "w") as log:
    print(errors.to_string(index=False), seconds.to_string(), sep="\n", file=log)
