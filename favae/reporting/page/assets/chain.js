// The dialog of a number: what it is, what sets its row apart, and the chain of results behind it.
"use strict";
(() => {
  const { h } = favae;
  const dialog = document.getElementById("chain");
  const bytes = (n) => n == null ? null : n > 1e9 ? `${(n / 1e9).toFixed(1)} GB` : n > 1e6 ? `${(n / 1e6).toFixed(1)} MB` : `${Math.max(1, Math.round(n / 1e3))} kB`;
  const time = (s) => s > 5400 ? `${(s / 3600).toFixed(1)} hours` : s > 90 ? `${(s / 60).toFixed(1)} minutes` : `${s.toFixed(1)} seconds`;

  /** Results behind a run, nearest first. */
  const steps = (name) => {
    const order = [], waiting = [name];
    while (waiting.length) {
      const next = waiting.shift(), fact = favae.numbers.results[next];
      if (fact && !order.includes(next)) { order.push(next); waiting.push(...fact.inputs); }
    }
    return order;
  };

  const list = (pairs) => h("dl", { class: "pairs" }, pairs.filter(([, value]) => value != null && value !== "")
    .map(([key, value]) => h("div", {}, h("dt", {}, key), h("dd", {}, value))));

  const details = (title, ...content) => h("details", { class: "more" }, h("summary", {}, title), ...content);

  const environment = (run) => list([
    ["Host", run.host], ["Platform", run.platform], ["Device", run.device], ["SLURM job", run.slurm_job],
    ["Packages", Object.entries(run.versions ?? {}).map(([name, version]) => `${name} ${version}`).join(", ")],
    ["constraints.txt", run.constraints_sha256?.slice(0, 12)],
  ]);

  const step = (name, first) => {
    const fact = favae.numbers.results[name], run = fact.run;
    const cost = run ? `${time(run.seconds)} on ${run.device}` : "no run record";
    return h("li", {}, h("details", { open: first },
      h("summary", {}, h("b", {}, name), h("span", { class: "quiet" }, ` ${fact.key.slice(0, 12)} · ${cost}`)),
      list([
        ["Content key", h("code", {}, fact.key)],
        ["Code", run?.git_commit ? h("span", {}, h("code", {}, run.git_commit.slice(0, 12)), `, version ${fact.version} of the stage`,
          run.git_dirty?.length ? `; uncommitted then: ${run.git_dirty.join(", ")}` : "") : `version ${fact.version} of the stage`],
        ["Cost", run ? [time(run.seconds), run.gpu_seconds ? `${(run.gpu_seconds / 3600).toFixed(2)} GPU-hours` : null,
          run.host_bytes ? `${bytes(run.host_bytes)} of memory` : null, run.gpu_bytes ? `${bytes(run.gpu_bytes)} of GPU memory` : null,
          run.resumed ? `resumed ${run.resumed} times` : null].filter(Boolean).join(", ") : null],
        ["When", run ? `${run.started.replace("T", " ").slice(0, 19)} to ${run.ended.replace("T", " ").slice(0, 19)} UTC` : null],
        ["Facts", Object.entries(fact.summary).map(([key, value]) => `${key} ${value}`).join(", ")],
      ]),
      details("Parameters", list(Object.entries(fact.parameters))),
      fact.outputs.length ? details("Files and their SHA-256", h("ul", { class: "files" }, fact.outputs.map(([path, sha, size]) =>
        h("li", {}, h("code", {}, path), h("br"), h("span", { class: "quiet" }, `${sha} · ${bytes(size)}`))))) : null,
      run ? details("Environment", environment(run)) : null,
      favae.code(fact.command)));
  };

  /** Parameters in which the row differs from the others of its table, with the values of those. */
  const differences = (id) => {
    const [table, row] = id.split("/"), all = favae.numbers.differing[table] ?? {}, own = all[row] ?? {};
    const keys = Object.keys(own);
    if (!keys.length) return null;
    const others = (key) => {
      const found = new Map();
      for (const [name, values] of Object.entries(all)) {
        if (name !== row && values[key] !== undefined && values[key] !== own[key]) {
          found.set(values[key], [...(found.get(values[key]) ?? []), name]);
        }
      }
      return [...found].map(([value, names]) => h("div", {}, h("code", {}, value), h("span", { class: "quiet" },
        ` ${names.slice(0, 2).map((name) => favae.numbers.labels[table][name]).join("; ")}${names.length > 2 ? ` and ${names.length - 2} more` : ""}`)));
    };
    return h("section", {}, h("h3", {}, "What sets this row apart"),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Parameters that differ" }, h("table", { class: "plain" },
        h("thead", {}, h("tr", {}, ["Parameter", "Here", "In other rows"].map((text) => h("th", { scope: "col" }, text)))),
        h("tbody", {}, keys.map((key) => h("tr", {}, h("th", { scope: "row" }, key), h("td", {}, h("code", {}, own[key])), h("td", {}, others(key))))))));
  };

  const totals = (names) => {
    const runs = names.map((name) => favae.numbers.results[name].run).filter(Boolean);
    const seconds = runs.reduce((sum, run) => sum + run.seconds, 0), gpu = runs.reduce((sum, run) => sum + run.gpu_seconds, 0);
    return runs.length ? `${time(seconds)}${gpu ? `, ${(gpu / 3600).toFixed(1)} GPU-hours` : ""} for the whole chain` : null;
  };

  const show = async (id) => {
    await favae.load("numbers");
    const number = favae.numbers.numbers[id];
    if (!number) return;
    const runs = (number.runs ?? []).map((run) => run.split("@")[0]);
    const known = runs.filter((run) => favae.numbers.results[run]);
    const names = [...new Set(known.flatMap(steps))];
    const [table, row, metric] = id.split("/");
    const audit = known.length ? `favae audit --scale ${favae.numbers.scale} ${table}/${known[0].split("/")[1]}/${metric}` : null;
    const commit = known.map((name) => favae.numbers.results[name].run?.git_commit).find(Boolean);
    const link = `${location.href.split("#")[0]}#n/${id}`;
    const unit = number.unit ? ` ${number.unit}` : "";
    dialog.replaceChildren(
      h("div", { class: "dialoghead" },
        h("h2", { id: "chain-title" }, `${number.metric} of ${number.row}`),
        h("button", { type: "button", class: "quiet", "aria-label": "Close", click: () => dialog.close() }, "✕")),
      h("p", { class: "big" }, number.text, h("span", { class: "unit" }, number.value === undefined ? "" : unit)),
      list([
        ["Note", number.note],
        ["Reported", number.reported ? `${number.reported}${unit} (${number.source})` : null],
        ["Difference", number.reported ? `${number.difference}${number.within ? ", within the interval of ours" : ""}` : null],
        ["Full value", number.value ? h("code", {}, number.value) : null],
        ["Runs", number.values?.join(", ")],
        ["Images", number.n],
        ["Better", number.better],
        ...Object.entries(number.facts ?? {}),
        ["Table", favae.numbers.titles[table]],
      ]),
      known.length ? h("section", {}, h("h3", {}, "Make it again"), commit ? favae.code(`git checkout ${commit}`) : null,
        known.map((name) => favae.code(favae.numbers.results[name].command)), audit ? favae.code(audit) : null,
        h("p", { class: "quiet" }, totals(names))) : h("p", {}, "No run: this row was not run at this scale."),
      differences(id),
      names.length ? h("section", {}, h("h3", {}, `The chain: ${names.length} results`),
        h("ol", { class: "chain" }, names.map((name, index) => step(name, index === 0)))) : null,
      number.protocol ? details("Protocol of the metric", list(Object.entries(number.protocol))) : null,
      h("p", {}, h("button", { type: "button", class: "copy", click: () => favae.copy(link, "Link") }, "Copy a link to this number"),
        known.length && document.getElementById("gallery-body") ? h("button", { type: "button", class: "copy", click: () => {
          dialog.close();
          document.dispatchEvent(new CustomEvent("favae:gallery", { detail: known[0] }));
        } }, "See its images") : null),
    );
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    history.replaceState(null, "", `#n/${id}`);
  };

  dialog.addEventListener("close", () => { if (location.hash.startsWith("#n/")) history.replaceState(null, "", location.pathname + location.search); });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.number");
    if (button) show(button.dataset.number);
  });
  const open = () => { if (location.hash.startsWith("#n/")) show(decodeURIComponent(location.hash.slice(3))); };
  addEventListener("hashchange", open);
  open();
  // The facts behind the numbers are most of the page's bytes, and no part of what is seen first.
  addEventListener("load", () => (window.requestIdleCallback ?? setTimeout)(() => favae.load("numbers")));
})();
