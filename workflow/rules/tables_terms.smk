# Tables of what is learned of each term of an energy, V, W and beta.


rule table_general_energies:
    input:
        metrics=experiment_metrics("general_energies"),
    output:
        tsv=report(
            "results/tables/general_energies.tsv",
            caption="../report/table_general_energies.rst",
            category="All three energies",
        ),
        md="results/tables/general_energies.md",
    log:
        "results/logs/table_general_energies.log",
    conda:
        "../../envs/jko.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        datasets=experiment_columns(
            "general_energies", potential="potential", interaction="interaction", beta="beta"
        ),
        methods=experiment_method_settings("general_energies"),
        references=["zero_energy", "even_oracle", "identity", "sampling_floor"],
        excluded=experiment_excluded("general_energies"),
        code=code("table_terms"),
    script:
        "../scripts/table_terms.py"


use rule table_potentials as table_cell_interaction with:
    input:
        metrics=experiment_metrics("cell_interaction"),
    output:
        tsv=report(
            "results/tables/cell_interaction.tsv",
            caption="../report/table_cell_interaction.rst",
            category="All three energies",
        ),
        md="results/tables/cell_interaction.md",
    log:
        "results/logs/table_cell_interaction.log",
    params:
        datasets=experiment_columns("cell_interaction", interaction="interaction", true_beta="beta"),
        metrics=["l2_uvp", "l2_uvp_interaction", "l2_uvp_drift", "beta", "w1"],
        methods=experiment_method_settings("cell_interaction"),
        references=["oracle", "zero_energy", "identity", "sampling_floor"],
        layout={"index": ["method", "scheme"], "columns": ["interaction", "true_beta"], "by": []},
        code=code("table_errors"),


use rule table_potentials as table_beta with:
    input:
        metrics=experiment_metrics("beta"),
    output:
        tsv=report(
            "results/tables/beta.tsv",
            caption="../report/table_beta.rst",
            category="All three energies",
        ),
        md="results/tables/beta.md",
    log:
        "results/logs/table_beta.log",
    params:
        datasets=experiment_columns("beta", landscape="potential", true_beta="beta"),
        metrics=["beta", "beta_free", "beta_deviation", "l2_uvp", "features", "rank", "condition"],
        methods=experiment_method_settings("beta"),
        references=["oracle", "zero_energy"],
        layout={
            "index": ["landscape", "true_beta"],
            "columns": ["method", "scheme"],
            "by": [],
        },
        code=code("table_errors"),


use rule table_potentials as table_beta_networks with:
    input:
        metrics=experiment_metrics("beta_networks"),
    output:
        tsv=report(
            "results/tables/beta_networks.tsv",
            caption="../report/table_beta.rst",
            category="All three energies",
        ),
        md="results/tables/beta_networks.md",
    log:
        "results/logs/table_beta_networks.log",
    params:
        datasets=experiment_columns("beta_networks", landscape="potential", true_beta="beta"),
        metrics=["beta", "l2_uvp"],
        methods=experiment_method_settings("beta_networks"),
        references=["oracle", "zero_energy"],
        layout={
            "index": ["landscape", "true_beta"],
            "columns": ["method", "scheme"],
            "by": [],
        },
        code=code("table_errors"),


use rule table_potentials as table_coverage with:
    input:
        metrics=experiment_metrics("coverage"),
    output:
        tsv=report(
            "results/tables/coverage.tsv",
            caption="../report/table_coverage.rst",
            category="All three energies",
        ),
        md="results/tables/coverage.md",
    log:
        "results/logs/table_coverage.log",
    params:
        datasets=experiment_columns(
            "coverage", landscape="potential", true_beta="beta", particles="n_train"
        ),
        metrics=[
            "beta_free",
            "beta_deviation",
            "beta_coverage",
            "l2_uvp",
            "l2_uvp_expected",
            "gradient_coverage",
            "misfit",
        ],
        methods=experiment_method_settings("coverage"),
        references=["zero_energy"],
        layout={
            "index": ["landscape", "true_beta", "particles"],
            "columns": ["method", "scheme"],
            "by": [],
        },
        code=code("table_errors"),
