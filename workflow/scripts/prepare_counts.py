"""Take raw counts to principal components, and split the cells into train and test parts."""

from jko.counts import preprocess, read
from jko.snapshots import SPLIT, save, split

settings = snakemake.params.dataset
with open(snakemake.log[0], "w") as log:
    counts = read(snakemake.input.counts, settings["times"])
    print(f"{snakemake.input.counts}: {counts.n_obs} cells, {counts.n_vars} genes", file=log)
    cells = preprocess(counts, settings)
    print(f"after the filters: {cells.n_obs} cells, {cells.n_vars} genes", file=log)
    x, time = cells.obsm["X_pca"], cells.obs["time"].to_numpy()
    how = {name: settings[name] for name in SPLIT}
    save(split(x, time, settings["seeds"], **how), snakemake.output.snapshots)
