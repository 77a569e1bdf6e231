"""Rule train: learn an energy by one method on one dataset, for every seed."""

from functools import partial

from jko import couplings, densities, manifest, methods, snapshots
from jko.files import write_text

settings = snakemake.params.method
inputs = dict(snakemake.input.items())
with open(snakemake.log[0], "w") as log:
    report = partial(print, file=log, flush=True)
    data = snapshots.load(inputs["snapshots"])
    problem = methods.Problem(
        data,
        coupling=couplings.load(inputs["coupling"]) if "coupling" in inputs else None,
        density=densities.load(inputs["density"]) if "density" in inputs else None,
    )
    fit = methods.module(settings["kind"]).fit(problem, settings, report)
    for seed, status in zip(data.seed, fit.status, strict=True):
        report(f"seed {seed}: {status}")

entries = {"dataset": snakemake.params.dataset, "method": settings, **snakemake.params.precomputed}
names = dict(snakemake.wildcards.items())
record = manifest.of_fit(names, entries, inputs, data.seed, fit.status)
methods.save(fit, data.seed, snakemake.output.fit)
write_text(fit.history.to_csv(sep="\t", index=False), snakemake.output.history)
write_text(manifest.text(record), snakemake.output.manifest)
