"""Rules figure_schemes, figure_ijkonet_fig3 and _fig4: one error of every method by landscape."""

import pandas as pd

from jko import tables
from jko.plotting import errors, style

params = snakemake.params
table = pd.read_csv(snakemake.input.errors, sep="\t")
rows = tables.select(table, **params.rows)
figure = errors.by_landscape(rows, params.methods, params.references, params.label, params.colour)
style.save(figure, snakemake.output.pdf, snakemake.output.png)
with open(snakemake.log[0], "w") as log:
    print(rows.to_string(index=False), file=log)
