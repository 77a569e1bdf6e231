"""Rule export_h5ad: the learned potential, drift and forecast, beside the cells in an .h5ad file."""

import json
from pathlib import Path

from jko import io_h5ad, methods, prediction, snapshots

settings, dataset = snakemake.params.method, snakemake.params.dataset
data = snapshots.load(snakemake.input.snapshots)
energies, status = methods.load(snakemake.input.fit, settings)
if energies[0] is None:
    raise ValueError(f"{snakemake.input.fit}: the fit of the first seed failed: {status[0]}")
forecast = prediction.forecast(energies[0], data, settings["scheme"])
potential, drift = prediction.at_particles(energies[0], data)
own_file = dataset["kind"] == "h5ad"
io_h5ad.write_fit(
    snakemake.output.cells,
    data.x,
    data.time[data.snapshot],
    potential,
    drift,
    forecast.x,
    forecast.time,
    json.loads(Path(snakemake.input.manifest).read_text(encoding="utf-8")),
    source=snakemake.input.source if own_file else None,
    rep_key=dataset["rep_key"] if own_file else "X_jko",
    standardise=dataset.get("standardise", False) if own_file else False,
)
with open(snakemake.log[0], "w") as log:
    print(f"{len(data.x)} cells, forecast at times {sorted(set(forecast.time))}", file=log)
