rule train_autoencoder:
    input:
        cards("train_autoencoder"),
        shards=artefact("train_autoencoder", "dataset", "shards"),
    output:
        card="data/{scale}/train_autoencoder/{cell}/card.json",
        model="data/{scale}/train_autoencoder/{cell}/model.safetensors",
        config="data/{scale}/train_autoencoder/{cell}/config.json",
        samples="data/{scale}/train_autoencoder/{cell}/samples.png",
        curves="data/{scale}/curves/train_autoencoder/{cell}.csv",
        run="data/{scale}/runs/train_autoencoder/{cell}.json",
    log:
        "data/{scale}/logs/train_autoencoder/{cell}.log",
    threads: threads_of("train_autoencoder")
    resources:
        mem_mb=resource("train_autoencoder", "mem_mb"),
        runtime=resource("train_autoencoder", "runtime"),
        gpu=resource("train_autoencoder", "gpu"),
    params:
        identity=identity("train_autoencoder"),
    shell:
        "exec favae run train_autoencoder {wildcards.cell} --scale {wildcards.scale} --threads {threads} --log {log}"


rule evaluate_reconstruction:
    input:
        cards("evaluate_reconstruction"),
        model=artefact("evaluate_reconstruction", "model", "model.safetensors"),
        config=artefact("evaluate_reconstruction", "model", "config.json"),
        shards=artefact("evaluate_reconstruction", "dataset", "shards"),
        statistics=artefact("evaluate_reconstruction", "reference", "statistics"),
    output:
        card="data/{scale}/evaluate_reconstruction/{cell}/card.json",
        metrics="data/{scale}/evaluate_reconstruction/{cell}/metrics.json",
        images="data/{scale}/evaluate_reconstruction/{cell}/images.csv",
        spectrum="data/{scale}/evaluate_reconstruction/{cell}/spectrum.csv",
        examples="data/{scale}/evaluate_reconstruction/{cell}/examples.npz",
        run="data/{scale}/runs/evaluate_reconstruction/{cell}.json",
    log:
        "data/{scale}/logs/evaluate_reconstruction/{cell}.log",
    threads: threads_of("evaluate_reconstruction")
    resources:
        mem_mb=resource("evaluate_reconstruction", "mem_mb"),
        runtime=resource("evaluate_reconstruction", "runtime"),
        gpu=resource("evaluate_reconstruction", "gpu"),
    params:
        identity=identity("evaluate_reconstruction"),
    shell:
        "exec favae run evaluate_reconstruction {wildcards.cell} --scale {wildcards.scale} --threads {threads} --log {log}"
