"""Rule evaluate: errors and predictions of a fit on the test rows."""

from jko import evaluation, methods, prediction, snapshots
from jko.files import write_text

settings, names = snakemake.params.method, snakemake.wildcards
scheme = settings["scheme"]
data = snapshots.load(snakemake.input.snapshots)
energies, status = methods.load(snakemake.input.fit, settings)
predictions = [
    None if energy is None else prediction.predict(energy, data, s, scheme)
    for s, energy in enumerate(energies)
]
numbers = evaluation.evaluate_fit(data, energies, predictions, status, scheme, names.method)
table = evaluation.table(numbers, names.dataset, snakemake.input.manifest)
prediction.save(data, energies, status, predictions[0], scheme, snakemake.output.predictions)
write_text(table.to_csv(sep="\t", index=False), snakemake.output.metrics)
with open(snakemake.log[0], "w") as log:
    print(table.groupby(["mode", "scheme", "metric"])["value"].describe().to_string(), file=log)
