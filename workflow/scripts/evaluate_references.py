"""Rule evaluate_references: errors of what needs no learning, on the test rows."""

from jko import evaluation, snapshots
from jko.files import write_text

data = snapshots.load(snakemake.input.snapshots)
numbers = evaluation.evaluate_references(data)
table = evaluation.table(numbers, snakemake.wildcards.dataset, snakemake.input.snapshots)
write_text(table.to_csv(sep="\t", index=False), snakemake.output.metrics)
with open(snakemake.log[0], "w") as log:
    print(table.groupby(["method", "mode", "metric"])["value"].describe().to_string(), file=log)
