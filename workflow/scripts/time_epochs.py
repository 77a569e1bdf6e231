"""Rule time_epochs: seconds of the epochs of a training, or of whole fits that have none."""

import os
import time

# A cached program would hide the compilation, which a first run pays.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

import pandas as pd

from jko import methods
from jko.files import write_text
from jko.tables import costs

settings = snakemake.params.method
problem = methods.load_problem(
    dict(snakemake.input.items()), snakemake.params.precomputed.get("start")
)
found = []
with open(snakemake.log[0], "w") as log:
    # One fit has many epochs; without any, further fits show what is left after the compilation.
    while not found or (found[0]["unit"].eq("fit").all() and len(found) < snakemake.params.fits):
        marks, begun = [], time.perf_counter()

        def report(line):
            marks.append((time.perf_counter() - begun, line))
            print(line, file=log, flush=True)

        methods.module(settings["kind"]).fit(problem, settings, report)
        found.append(costs.spans(marks, time.perf_counter() - begun))
write_text(pd.concat(found).to_csv(sep="\t", index=False), snakemake.output.spans)
