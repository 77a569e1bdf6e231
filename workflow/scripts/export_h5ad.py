"""Rule export_h5ad: the learned potential, drift and forecast, beside the
cells in an .h5ad file.
"""

import json
from pathlib import Path

from jko import io_h5ad, methods, prediction, snapshots

settings, dataset = snakemake.params.method, snakemake.params.dataset
data = snapshots.load(snakemake.input.snapshots)
if data.held_out is not None:
    raise ValueError(
        f"{snakemake.input.snapshots} holds out the snapshot at time {data.held_out.time:g}; cells.h5ad is made of all "
        "cells, from a dataset without held_out"
    )
learned, status = methods.load(snakemake.input.fit, settings)
good = [s for s, found in enumerate(learned) if found is not None]
if not good:
    raise ValueError(f"{snakemake.input.fit}: the fit failed for every seed: {status[0]}")
energy, scheme = learned[good[0]].energy, settings["scheme"]
forecast = prediction.forecast(energy, data, scheme)
potential, drift = prediction.at_particles(energy, data, scheme)
manifest = json.loads(Path(snakemake.input.manifest).read_text(encoding="utf-8"))
own_file = dataset["kind"] == "h5ad"
io_h5ad.write_fit(
    snakemake.output.cells,
    data.x,
    data.time[data.snapshot],
    potential,
    drift,
    forecast.x,
    forecast.time,
    manifest | {"exported_seed": int(data.seed[good[0]])},
    source=snakemake.input.source if own_file else None,
    rep_key=dataset["rep_key"] if own_file else "X_jko",
    standardise=dataset.get("standardise", False) if own_file else False,
)
with open(snakemake.log[0], "w") as log:
    print(f"{len(data.x)} cells, forecast at times {sorted(set(forecast.time))}", file=log)
