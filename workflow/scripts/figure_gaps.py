"""Rules figure_ijkonet_gap, figure_ijkonet_gap_pairings and figure_ijkonet_gap_embryoid: the gap of the inverse JKO problem along the training."""

import itertools

from jko.plotting import gaps, style
from jko.tables import traces

params = snakemake.params
pairs = itertools.product(params.datasets.values(), params.methods)
keys = [{**columns, "method": method} for columns, method in pairs]
histories = traces.stacked(zip(keys, snakemake.input.histories, strict=True))
figure = gaps.gaps(histories, params.rows, params.scale)
style.save(figure, snakemake.output.pdf, snakemake.output.png)
with open(snakemake.log[0], "w") as log:
    fits = ["landscape", *params.rows, "method", "seed"]
    last = histories.dropna(subset="gap").groupby(fits, sort=False).tail(1)
    print(last.to_string(index=False), file=log)
