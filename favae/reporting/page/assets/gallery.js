// The gallery: originals against reconstructions, sorted by a metric; a press opens all views of an image.
"use strict";
(() => {
  const { h } = favae;
  const body = document.getElementById("gallery-body");
  if (!body) return;
  const state = { set: 0, view: "slider", left: null, right: null, metric: null, order: "worst", count: 12 };
  let grid, controls;

  const set = () => favae.gallery[state.set];
  const column = (id) => set().columns.find((entry) => entry.id === id);
  const models = () => set().columns.filter((entry) => !entry.original);

  /** File of a view of an item: `image`, `difference` or `spectrum`; null where it was left out. */
  favae.view = (group, item, id, kind) => {
    const entry = group.columns.find((one) => one.id === id);
    if (!entry || !item.there.includes(id)) return null;
    if (kind !== "spectrum" && !entry.shown) return null;
    if (kind === "difference" && (entry.original || !group.differences || !group.original)) return null;
    return `${group.folder}/${item.n}-${id}${kind === "image" ? "" : `-${kind}`}.png`;
  };

  favae.metricText = (group, item, id) => group.metrics.slice(0, 3).map((metric) => {
    const value = item.values[id]?.[metric.id];
    return value === undefined ? null : `${metric.head} ${Number(value.toPrecision(4))}${metric.unit && metric.unit.length < 4 ? ` ${metric.unit}` : ""}`;
  }).filter(Boolean).join(" · ");

  /** Items by the chosen order: worst or best of the right model, or the largest difference between the two models. */
  const ordered = () => {
    const { metric, order, left, right } = state;
    const items = [...set().items];
    if (!metric || order === "given") return items;
    const info = set().metrics.find((entry) => entry.id === metric);
    const value = (item, id) => item.values[id]?.[metric];
    const key = (item) => {
      const right_ = value(item, right);
      if (right_ === undefined) return -Infinity;
      if (order === "apart") return value(item, left) === undefined ? -Infinity : Math.abs(right_ - value(item, left));
      return (info.better === "higher" ? -1 : 1) * (order === "worst" ? 1 : -1) * right_;
    };
    return items.sort((a, b) => key(b) - key(a));
  };

  const reset = () => {
    const group = set(), ids = models().map((entry) => entry.id);
    const any = group.columns.some((entry) => entry.shown);
    state.right = ids.includes(state.right) ? state.right : ids[Math.min(1, ids.length - 1)];
    state.left = group.columns.some((entry) => entry.id === state.left) && state.left !== state.right ? state.left
      : group.original ?? group.columns.find((entry) => entry.id !== state.right)?.id;
    if (!any) state.view = "spectrum";
    if (!group.metrics.some((metric) => metric.id === state.metric)) state.metric = group.metrics[0]?.id ?? null;
  };

  const slider = (item, name) => {
    const group = set(), kind = state.view === "slider" ? "image" : state.view;
    const label = (id) => column(id)?.label ?? "";
    const left = favae.view(group, item, state.left, kind) ?? favae.view(group, item, state.left, "image");
    const right = favae.view(group, item, state.right, kind);
    const image = (src, id, slot) => h("img", { slot, src, loading: "lazy", decoding: "async", alt: `${label(id)} of ${name}, ${kind}`, draggable: "false" });
    if (!left || !right) return h("div", { class: "missing" }, left || right ? image(left ?? right, left ? state.left : state.right) : "left out");
    const element = h("img-comparison-slider", {
      class: "compare", role: "slider", tabindex: "0", "aria-label": `${name}: ${label(state.left)} left, ${label(state.right)} right`,
      "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": "50",
      slide: () => element.setAttribute("aria-valuenow", String(Math.round(element.value ?? 50))),
    }, image(left, state.left, "first"), image(right, state.right, "second"));
    return element;
  };

  const card = (item, index, items) => {
    const name = item.caption || item.id;
    return h("li", { class: "shot" }, slider(item, name),
      h("div", { class: "shotnote" },
        h("button", { type: "button", class: "open", "aria-label": `All views of ${name}`, click: () => favae.zoom(set(), items, index, state) }, name),
        h("span", { class: "quiet" }, favae.metricText(set(), item, state.right))));
  };

  const draw = () => {
    const items = ordered(), shown = items.slice(0, state.count);
    grid.replaceChildren(...shown.map((item, index) => card(item, index, items)));
    grid.classList.toggle("small", set().size[0] <= 128);
    const kept = set().total > items.length ? ` Of ${set().total} test images, ${items.length} were kept with their outputs.` : "";
    body.querySelector(".galleryfoot").replaceChildren(
      h("span", { class: "quiet" }, `${shown.length} of ${items.length} images.${kept} Left of the line: ${column(state.left)?.label}; right: ${column(state.right)?.label}. Arrow keys move the line.`),
      items.length > shown.length ? h("button", { type: "button", class: "copy", click: () => { state.count += 24; draw(); } }, "Show more") : "");
  };

  const set_ = (key) => (value) => { state[key] = key === "set" ? Number(value) : value; if (key === "set") { state.left = state.right = null; } rebuild(); };

  const rebuild = () => {
    reset();
    const group = set(), columns = group.columns.map((entry) => [entry.id, entry.label]);
    const any = group.columns.some((entry) => entry.shown);
    const views = [any && ["slider", "Images"], any && group.differences && group.original && ["difference", "Difference from the original"], ["spectrum", "Log-power spectrum"]].filter(Boolean);
    const orders = [["worst", "worst first"], ["best", "best first"], ["apart", "largest difference of the two"], ["given", "as stored"]];
    controls.replaceChildren(...[
      favae.gallery.length > 1 && favae.choice("Images", favae.gallery.map((entry, index) => [String(index), entry.title]), String(state.set), set_("set")),
      favae.choice("Left", columns, state.left, set_("left")),
      favae.choice("Right", columns, state.right, set_("right")),
      favae.choice("View", views, state.view, set_("view")),
      group.metrics.length && favae.choice("Sort by", group.metrics.map((metric) => [metric.id, metric.title]), state.metric, set_("metric")),
      group.metrics.length && favae.choice("Order", orders, state.order, set_("order")),
    ].filter(Boolean));
    draw();
  };

  const start = async () => {
    await Promise.all([favae.load("gallery"), favae.load("numbers")]);
    controls = h("div", { class: "controls", role: "group", "aria-label": "What the gallery shows" });
    grid = h("ul", { class: "shots" });
    body.replaceChildren(controls, grid, h("p", { class: "galleryfoot" }));
    rebuild();
  };

  document.addEventListener("favae:gallery", async (event) => {
    await favae.load("gallery");
    const index = favae.gallery.findIndex((group) => group.columns.some((entry) => entry.result === event.detail && !entry.original));
    if (!grid) await start();
    if (index >= 0) {
      Object.assign(state, { set: index, left: null });
      state.right = set().columns.find((entry) => entry.result === event.detail && !entry.original).id;
      rebuild();
    }
    document.getElementById("gallery").scrollIntoView();
  });
  favae.whenNear(body, () => { if (!grid) start().catch((error) => { body.textContent = String(error.message); }); });
})();
