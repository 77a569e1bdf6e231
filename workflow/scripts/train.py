"""Rule train: learn an energy by one method on one dataset, for every seed."""

from functools import partial

from jko import manifest, methods
from jko.files import write_text

settings, known = snakemake.params.method, snakemake.params.precomputed
inputs = dict(snakemake.input.items())
with open(snakemake.log[0], "w") as log:
    report = partial(print, file=log, flush=True)
    problem = methods.load_problem(inputs, known.get("start"))
    data = problem.snapshots
    fit = methods.module(settings["kind"]).fit(problem, settings, report)
    for seed, status in zip(data.seed, fit.status, strict=True):
        report(f"seed {seed}: {status}")

entries = {"dataset": snakemake.params.dataset, "method": settings, **known}
names = dict(snakemake.wildcards.items())
record = manifest.of_fit(names, entries, inputs, data.seed, fit.status)
methods.save(fit, data.seed, snakemake.output.fit)
write_text(fit.history.to_csv(sep="\t", index=False), snakemake.output.history)
write_text(manifest.text(record), snakemake.output.manifest)
