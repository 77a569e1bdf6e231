"""Rule figure_cost_per_epoch: seconds of an epoch of every method."""

import pandas as pd

from jko.plotting import costs, style

table = pd.read_csv(snakemake.input.costs, sep="\t")
style.save(costs.per_epoch(table), snakemake.output.pdf, snakemake.output.png)
with open(snakemake.log[0], "w") as log:
    print(table.to_string(index=False), file=log)
