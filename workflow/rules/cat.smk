rule tokenize_images:
    input:
        cards("tokenize_images"),
        model=artefact("tokenize_images", "model", "model.safetensors"),
        config=artefact("tokenize_images", "model", "config.json"),
        shards=artefact("tokenize_images", "dataset", "shards"),
    output:
        card="data/{scale}/tokenize_images/{cell}/card.json",
        tokens="data/{scale}/tokenize_images/{cell}/tokens.npz",
        captions="data/{scale}/tokenize_images/{cell}/captions.csv",
        run="data/{scale}/runs/tokenize_images/{cell}.json",
    log:
        "data/{scale}/logs/tokenize_images/{cell}.log",
    threads: threads_of("tokenize_images")
    resources:
        mem_mb=resource("tokenize_images", "mem_mb"),
        runtime=resource("tokenize_images", "runtime"),
        gpu=resource("tokenize_images", "gpu"),
    params:
        identity=identity("tokenize_images"),
    shell:
        "exec favae run tokenize_images {wildcards.cell} --scale {wildcards.scale} --threads {threads} --log {log}"


rule train_cat:
    input:
        cards("train_cat"),
        tokens=artefact("train_cat", "tokens", "tokens.npz"),
        captions=artefact("train_cat", "tokens", "captions.csv"),
    output:
        card="data/{scale}/train_cat/{cell}/card.json",
        model="data/{scale}/train_cat/{cell}/model.safetensors",
        config="data/{scale}/train_cat/{cell}/config.json",
        curves="data/{scale}/curves/train_cat/{cell}.csv",
        run="data/{scale}/runs/train_cat/{cell}.json",
    log:
        "data/{scale}/logs/train_cat/{cell}.log",
    threads: threads_of("train_cat")
    resources:
        mem_mb=resource("train_cat", "mem_mb"),
        runtime=resource("train_cat", "runtime"),
        gpu=resource("train_cat", "gpu"),
    params:
        identity=identity("train_cat"),
    shell:
        "exec favae run train_cat {wildcards.cell} --scale {wildcards.scale} --threads {threads} --log {log}"


rule generate_images:
    input:
        cards("generate_images"),
        cat=artefact("generate_images", "cat", "model.safetensors"),
        cat_config=artefact("generate_images", "cat", "config.json"),
        model=artefact("generate_images", "model", "model.safetensors"),
        model_config=artefact("generate_images", "model", "config.json"),
        shards=artefact("generate_images", "dataset", "shards"),
        statistics=artefact("generate_images", "reference", "statistics"),
    output:
        card="data/{scale}/generate_images/{cell}/card.json",
        metrics="data/{scale}/generate_images/{cell}/metrics.json",
        examples="data/{scale}/generate_images/{cell}/examples.npz",
        run="data/{scale}/runs/generate_images/{cell}.json",
    log:
        "data/{scale}/logs/generate_images/{cell}.log",
    threads: threads_of("generate_images")
    resources:
        mem_mb=resource("generate_images", "mem_mb"),
        runtime=resource("generate_images", "runtime"),
        gpu=resource("generate_images", "gpu"),
    params:
        identity=identity("generate_images"),
    shell:
        "exec favae run generate_images {wildcards.cell} --scale {wildcards.scale} --threads {threads} --log {log}"
