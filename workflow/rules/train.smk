# One job trains a method on a dataset for all its seeds.


rule train:
    input:
        unpack(precomputed),
        snapshots="results/{dataset}/snapshots.npz",
    output:
        fit="results/{dataset}/{method}/fit.msgpack",
        history="results/{dataset}/{method}/history.tsv",
        manifest="results/{dataset}/{method}/manifest.json",
    log:
        "results/logs/train/{dataset}-{method}.log",
    benchmark:
        "results/{dataset}/{method}/benchmark.tsv"
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        # A job that takes more is sent again where the profile has retries.
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=120,
    params:
        dataset=dataset_settings,
        method=method_settings,
        precomputed=precomputed_settings,
        code=method_code("train"),
    script:
        "../scripts/train.py"


rule export_h5ad:
    input:
        snapshots="results/{dataset}/snapshots.npz",
        fit="results/{dataset}/{method}/fit.msgpack",
        manifest="results/{dataset}/{method}/manifest.json",
        source=branch(
            lookup(dpath="datasets/{dataset}/kind", within=config),
            cases={"h5ad": lookup(dpath="datasets/{dataset}/path", within=config, default=[])},
            otherwise=[],
        ),
    output:
        cells="results/{dataset}/{method}/cells.h5ad",
    log:
        "results/logs/export_h5ad/{dataset}-{method}.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        dataset=dataset_settings,
        method=method_settings,
        code=method_code("export_h5ad"),
    script:
        "../scripts/export_h5ad.py"
