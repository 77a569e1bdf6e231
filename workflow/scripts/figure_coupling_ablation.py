"""Rule figure_coupling_ablation: error and cost of every coupling."""

import pandas as pd

from jko.plotting import costs, style

table = pd.read_csv(snakemake.input.errors, sep="\t")
figure = costs.by_coupling(table, snakemake.params.couplings)
style.save(figure, snakemake.output.pdf, snakemake.output.png)
with open(snakemake.log[0], "w") as log:
    print(table.to_string(index=False), file=log)
