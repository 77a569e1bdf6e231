"""Rule figure_ijkonet_fig2: errors by dimension and number of particles, and along the training."""

import itertools

import pandas as pd

from jko.plotting import combinations, style
from jko.tables import traces

params = snakemake.params
errors = pd.read_csv(snakemake.input.errors, sep="\t")
pairs = itertools.product(params.datasets.values(), params.methods)
keys = [{**columns, "method": method} for columns, method in pairs]
stacked = traces.stacked(zip(keys, snakemake.input.traces, strict=True))
progress = traces.relative(stacked, ["dimension", "n_train"])
figure = combinations.by_combination(errors, progress, params.methods)
style.save(figure, snakemake.output.pdf, snakemake.output.png)
with open(snakemake.log[0], "w") as log:
    print(progress.to_string(index=False), file=log)
