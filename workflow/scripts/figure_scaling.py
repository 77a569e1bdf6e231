"""Rule figure_scaling: errors by dimension and seconds by number of particles."""

import pandas as pd

from jko.plotting import scaling as drawing
from jko.plotting import style
from jko.tables import scaling

summary = scaling.summary(
    pd.read_csv(snakemake.input.errors, sep="\t", keep_default_na=False, na_values={"value": "nan"})
)
figure = drawing.by_dimension(summary, snakemake.params.methods)
style.save(figure, snakemake.output.pdf, snakemake.output.png)
with open(snakemake.log[0], "w") as log:
    print(summary.to_string(index=False), file=log)
