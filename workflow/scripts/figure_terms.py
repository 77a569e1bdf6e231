"""Rule figure_general_energies: errors of every term of the energy against the true beta."""

import pandas as pd

from jko.files import write_text
from jko.plotting import style
from jko.plotting import terms as drawing
from jko.tables import terms

table = pd.read_csv(snakemake.input.errors, sep="\t")
summary = terms.by_beta(table)
figure = drawing.by_beta(summary, snakemake.params.methods)
style.save(figure, snakemake.output.pdf, snakemake.output.png)
write_text(summary.to_csv(sep="\t", index=False, na_rep="nan"), snakemake.output.data)
with open(snakemake.log[0], "w") as log:
    print(summary.to_string(index=False), file=log)
