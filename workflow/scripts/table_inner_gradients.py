"""Rule table_inner_gradients: gradients through the inner loop of JKOnet against the exact one."""

import os
from functools import partial

# A cached program does not say what memory it needs.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

from jko import inner_gradients, methods, readable, snapshots

params = snakemake.params
problem = methods.Problem(snapshots.load(snakemake.input.snapshots))
with open(snakemake.log[0], "w") as log:
    report = partial(print, file=log, flush=True)
    table = inner_gradients.compare(
        problem,
        params.method,
        ["raw", "standard"],
        ["icnn", "mlp"],
        params.steps,
        params.repeats,
        report,
    )
numbers = inner_gradients.COLUMNS[4:]
text = readable.markdown(table.assign(**table[numbers].map("{:.3g}".format)))
readable.write(table, text, snakemake.output.tsv, snakemake.output.md)
