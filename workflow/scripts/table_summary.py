"""Rule table_summary: what every dataset of the run is, or why it was left out."""

from jko import readable, snapshots
from jko.tables import runs

params = snakemake.params
shapes = {}
for dataset, path in zip(params.datasets, snakemake.input.snapshots, strict=True):
    data = snapshots.load(path)
    shapes[dataset] = (len(data.time), len(data.x), data.dimension)
table = runs.summary(params.kinds, shapes, params.left_out)
text = readable.markdown(table)
readable.write(table, text, snakemake.output.tsv, snakemake.output.md)
with open(snakemake.log[0], "w") as log:
    print(text, file=log)
