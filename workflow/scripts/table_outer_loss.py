"""Rule table_outer_loss: the outer loss of JKOnet by ways to solve its inner problem, and their seconds."""

from jko import readable
from jko.tables import costs

methods, files = snakemake.params.methods, snakemake.input
# Files stand dataset by dataset, each with all methods.
histories = {name: files.histories[i :: len(methods)] for i, name in enumerate(methods)}
table = costs.at_equal_epochs(histories, costs.per_epoch(zip(methods, files.spans, strict=True)))
numbers = table.select_dtypes("float").columns
text = readable.markdown(table.assign(**table[numbers].map("{:.4g}".format)))
readable.write(table, text, snakemake.output.tsv, snakemake.output.md)
with open(snakemake.log[0], "w") as log:
    print(text, file=log)
