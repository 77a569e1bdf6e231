# Errors on the test rows, in one long table.


rule evaluate:
    input:
        snapshots="results/{dataset}/snapshots.npz",
        fit="results/{dataset}/{method}/fit.msgpack",
        manifest="results/{dataset}/{method}/manifest.json",
    output:
        metrics="results/{dataset}/{method}/metrics.tsv",
        predictions="results/{dataset}/{method}/predictions.npz",
        trace="results/{dataset}/{method}/trace.tsv",
    log:
        "results/logs/evaluate/{dataset}-{method}.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        method=method_settings,
        code=method_code("evaluate"),
    script:
        "../scripts/evaluate.py"


rule evaluate_train:
    input:
        snapshots="results/{dataset}/snapshots.npz",
        fit="results/{dataset}/{method}/fit.msgpack",
        manifest="results/{dataset}/{method}/manifest.json",
    output:
        metrics="results/{dataset}/{method}/train_metrics.tsv",
    log:
        "results/logs/evaluate_train/{dataset}-{method}.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        method=method_settings,
        code=method_code("evaluate_train"),
    script:
        "../scripts/evaluate_train.py"


rule evaluate_references:
    input:
        snapshots="results/{dataset}/snapshots.npz",
    output:
        metrics="results/{dataset}/reference/metrics.tsv",
    log:
        "results/logs/evaluate_references/{dataset}.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code("evaluate_references"),
    script:
        "../scripts/evaluate_references.py"


# The snapshot that a dataset with `held_out` keeps from every method.
rule evaluate_held_out:
    input:
        snapshots="results/{dataset}/snapshots.npz",
        fit="results/{dataset}/{method}/fit.msgpack",
        manifest="results/{dataset}/{method}/manifest.json",
    output:
        metrics="results/{dataset}/{method}/held_out.tsv",
    log:
        "results/logs/evaluate_held_out/{dataset}-{method}.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        method=method_settings,
        code=method_code("evaluate_held_out"),
    script:
        "../scripts/evaluate_held_out.py"


rule evaluate_held_out_references:
    input:
        snapshots="results/{dataset}/snapshots.npz",
        coupling="results/{dataset}/coupling-exact.npz",
    output:
        metrics="results/{dataset}/reference/held_out.tsv",
    log:
        "results/logs/evaluate_held_out_references/{dataset}.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        code=code("evaluate_held_out_references"),
    script:
        "../scripts/evaluate_held_out_references.py"


rule collect_metrics:
    input:
        all_metrics(),
    output:
        metrics="results/metrics.tsv",
    log:
        "results/logs/collect_metrics.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("collect_metrics"),
    script:
        "../scripts/collect_metrics.py"
