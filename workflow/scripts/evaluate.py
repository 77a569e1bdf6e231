"""Rule evaluate: errors and predictions of a fit on the test rows."""

from jko import evaluation, methods, prediction, snapshots
from jko.files import write_text

settings = snakemake.params.method
data = snapshots.load(snakemake.input.snapshots)
energies, status = methods.load(snakemake.input.fit, settings)
scheme, names = settings["scheme"], snakemake.wildcards
numbers = list(evaluation.evaluate_fit(data, energies, status, scheme, names.method))
table = evaluation.table(numbers, names.dataset, snakemake.input.manifest)
prediction.save_predictions(data, energies, status, scheme, snakemake.output.predictions)
write_text(table.to_csv(sep="\t", index=False), snakemake.output.metrics)
with open(snakemake.log[0], "w") as log:
    print(table.groupby(["mode", "scheme", "metric"])["value"].describe().to_string(), file=log)
