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
        "favae run prepare_dataset {wildcards.cell} --scale {wildcards.scale} --threads {threads} --log {log}"
