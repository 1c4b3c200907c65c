rule prepare_dataset:
    output:
        card="data/{scale}/prepare_dataset/{cell}/card.json",
        shards=directory("data/{scale}/prepare_dataset/{cell}/shards"),
        run="data/{scale}/runs/prepare_dataset/{cell}.json",
    log:
        "data/{scale}/logs/prepare_dataset/{cell}.log",
    threads: threads_of("prepare_dataset")
    resources:
        mem_mb=resource("prepare_dataset", "mem_mb"),
        runtime=resource("prepare_dataset", "runtime"),
    params:
        identity=identity("prepare_dataset"),
    shell:
        "exec favae run prepare_dataset {wildcards.cell} --scale {wildcards.scale} --threads {threads} --log {log}"


rule compute_reference_statistics:
    input:
        cards("compute_reference_statistics"),
        shards=artefact("compute_reference_statistics", "dataset", "shards"),
    output:
        card="data/{scale}/compute_reference_statistics/{cell}/card.json",
        statistics=directory(
            "data/{scale}/compute_reference_statistics/{cell}/statistics"
        ),
        run="data/{scale}/runs/compute_reference_statistics/{cell}.json",
    log:
        "data/{scale}/logs/compute_reference_statistics/{cell}.log",
    threads: threads_of("compute_reference_statistics")
    resources:
        mem_mb=resource("compute_reference_statistics", "mem_mb"),
        runtime=resource("compute_reference_statistics", "runtime"),
        gpu=resource("compute_reference_statistics", "gpu"),
    params:
        identity=identity("compute_reference_statistics"),
    shell:
        "exec favae run compute_reference_statistics {wildcards.cell} --scale {wildcards.scale} --threads {threads} --log {log}"
