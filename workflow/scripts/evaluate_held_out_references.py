"""Rule evaluate_held_out_references: errors of what learns no energy, on the snapshot held out."""

from jko import couplings, evaluation, held_out, snapshots
from jko.files import write_text

data = snapshots.load(snakemake.input.snapshots)
coupling = couplings.load(snakemake.input.coupling)
with open(snakemake.log[0], "w") as log:
    numbers = []
    for number in held_out.evaluate_references(data, coupling):
        print(*number, file=log, flush=True)
        numbers.append(number)
table = evaluation.table(numbers, snakemake.wildcards.dataset, snakemake.input.snapshots)
write_text(table.to_csv(sep="\t", index=False), snakemake.output.metrics)
