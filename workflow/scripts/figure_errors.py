"""Rules figure_schemes, figure_ijkonet_fig3 and _fig4: one error of every method by landscape."""

import pandas as pd

from jko import tables
from jko.plotting import errors, style

params = snakemake.params
table = pd.read_csv(snakemake.input.errors, sep="\t")
panels = {label: tables.select(table, **rows) for label, rows in params.panels.items()}
figure = errors.by_landscape(panels, params.methods, params.references, params.colour)
style.save(figure, snakemake.output.pdf, snakemake.output.png)
with open(snakemake.log[0], "w") as log:
    for label, rows in panels.items():
        print(label, rows.to_string(index=False), sep="\n", file=log)
