# Tables of errors beside the seconds and the memory that they took.


rule table_scaling:
    input:
        metrics=experiment_metrics("scaling"),
        train=experiment_files("scaling", "benchmark.tsv"),
        couple=experiment_couplings("scaling", "coupling-{coupling}.benchmark.tsv"),
    output:
        tsv=report(
            "results/tables/scaling.tsv",
            caption="../report/table_scaling.rst",
            category="Scaling and cost",
        ),
        md="results/tables/scaling.md",
    log:
        "results/logs/table_scaling.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        datasets=experiment_columns(
            "scaling", potential="potential", dimension="dimension", particles="n_train"
        ),
        methods=experiment_method_settings("scaling"),
        references=["oracle", "zero_energy", "identity", "sampling_floor"],
        code=code("table_scaling"),
    script:
        "../scripts/table_scaling.py"


rule table_coupling_ablation:
    input:
        metrics=experiment_metrics("coupling_ablation"),
        train=experiment_files("coupling_ablation", "benchmark.tsv"),
        couple=experiment_couplings("coupling_ablation", "coupling-{coupling}.benchmark.tsv"),
    output:
        tsv=report(
            "results/tables/coupling_ablation.tsv",
            caption="../report/table_coupling_ablation.rst",
            category="Scaling and cost",
        ),
        md="results/tables/coupling_ablation.md",
    log:
        "results/logs/table_coupling_ablation.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        datasets=experiment_columns("coupling_ablation", landscape="potential"),
        metrics=["l2_uvp", "w1"],
        methods=experiment_method_settings("coupling_ablation"),
        couplings=coupling_words("coupling_ablation"),
        references=["oracle", "zero_energy", "identity"],
        code=code("table_coupling_ablation"),
    script:
        "../scripts/table_coupling_ablation.py"


rule table_cost_per_epoch:
    input:
        spans=expand(
            "results/benchmarks/epochs/{dataset}-{method}.tsv",
            dataset=experiment_datasets("cost_per_epoch"),
            method=experiment_methods("cost_per_epoch"),
        ),
    output:
        tsv=report(
            "results/tables/cost_per_epoch.tsv",
            caption="../report/table_cost_per_epoch.rst",
            category="Scaling and cost",
        ),
        md="results/tables/cost_per_epoch.md",
    log:
        "results/logs/table_cost_per_epoch.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        datasets=experiment_datasets("cost_per_epoch"),
        methods=experiment_methods("cost_per_epoch"),
        code=code("table_cost_per_epoch"),
    script:
        "../scripts/table_cost_per_epoch.py"


rule table_outer_loss:
    input:
        histories=experiment_files("outer_loss", "history.tsv"),
        spans=expand(
            "results/benchmarks/epochs/benchmark_particles-{method}.tsv",
            method=experiment_methods("outer_loss"),
        ),
    output:
        tsv=report(
            "results/tables/outer_loss.tsv",
            caption="../report/table_outer_loss.rst",
            category="Scaling and cost",
        ),
        md="results/tables/outer_loss.md",
    log:
        "results/logs/table_outer_loss.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        methods=experiment_methods("outer_loss"),
        code=code("table_outer_loss"),
    script:
        "../scripts/table_outer_loss.py"


rule table_lightspeed:
    input:
        metrics=experiment_metrics("lightspeed"),
        spans=expand(
            "results/benchmarks/epochs/benchmark_particles-{method}.tsv",
            method=experiment_methods("lightspeed"),
        ),
    output:
        tsv=report(
            "results/tables/lightspeed.tsv",
            caption="../report/table_lightspeed.rst",
            category="JKOnet",
        ),
        md="results/tables/lightspeed.md",
    log:
        "results/logs/table_lightspeed.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        datasets=experiment_columns("lightspeed", landscape="potential"),
        metrics=["w1", "l2_uvp"],
        methods=experiment_method_settings("lightspeed"),
        references=REFERENCES,
        code=code("table_lightspeed"),
    script:
        "../scripts/table_lightspeed.py"


rule table_inner_gradients:
    input:
        snapshots="results/benchmark_particles/snapshots.npz",
    output:
        tsv=report(
            "results/tables/inner_gradients.tsv",
            caption="../report/table_inner_gradients.rst",
            category="JKOnet",
        ),
        md="results/tables/inner_gradients.md",
    log:
        "results/logs/table_inner_gradients.log",
    conda:
        "../../envs/jko.yaml"
    # More than there are: Snakemake takes all cores, so that nothing else runs beside it.
    threads: 64
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        method=settings.method_settings(config, "jkonet_implicit", "benchmark_particles"),
        steps=[10, 100, 1000],
        repeats=3,
        code=code("table_inner_gradients"),
    script:
        "../scripts/table_inner_gradients.py"
