"""Rule figure_schemes: how much of the energy's error is the scheme that it was learned with."""

import pandas as pd

from jko import plotting, tables

params = snakemake.params
errors = pd.read_csv(snakemake.input.errors, sep="\t")
errors = tables.select(errors, metric="l2_uvp", pairing=params.pairing)
figure = plotting.schemes(errors, params.methods, params.references)
plotting.save(figure, snakemake.output.pdf, snakemake.output.png)
with open(snakemake.log[0], "w") as log:
    print(errors.to_string(index=False), file=log)
