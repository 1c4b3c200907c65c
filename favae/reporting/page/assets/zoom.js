// All views of one image, zoomed and moved together, and the radial spectra of the models.
"use strict";
(() => {
  const { h } = favae;
  const dialog = document.getElementById("zoom");
  const now = { group: null, items: [], index: 0, state: null, scale: 1, x: 0, y: 0 };
  const KINDS = [["image", "Image"], ["difference", "Difference"], ["spectrum", "Log-power spectrum"]];
  const MOST = 4; // models beside one another: the original, the two of the gallery, others
  let chart = null;

  const apply = () => {
    const limit = (now.scale - 1) / 2;
    now.x = Math.max(-limit, Math.min(limit, now.x));
    now.y = Math.max(-limit, Math.min(limit, now.y));
    for (const image of dialog.querySelectorAll(".pane img")) {
      image.style.transform = `translate(${now.x * 100}%, ${now.y * 100}%) scale(${now.scale})`;
    }
    const said = dialog.querySelector(".scale");
    if (said) said.textContent = `${now.scale.toFixed(1)} ×`;
  };
  const zoomBy = (factor) => { now.scale = Math.max(1, Math.min(16, now.scale * factor)); apply(); };

  const pane = (item, id, kind, name) => {
    const src = favae.view(now.group, item, id, kind);
    if (!src) return h("td", { class: "empty" }, kind === "difference" ? "–" : "left out");
    return h("td", {}, h("div", { class: "pane" }, h("img", { src, alt: name, draggable: "false" })));
  };

  const columns = () => {
    const { group, state } = now;
    const others = group.columns.map((entry) => entry.id);
    const wanted = [group.original, state.left, state.right, ...others].filter(Boolean);
    return [...new Set(wanted)].slice(0, MOST).map((id) => group.columns.find((entry) => entry.id === id)).filter(Boolean);
  };

  const views = (item) => {
    const shown = columns();
    return h("table", { class: "views" },
      h("caption", { class: "hidden" }, "Views of the image by model"),
      h("thead", {}, h("tr", {}, h("td", {}), shown.map((entry) => h("th", { scope: "col" }, entry.label,
        h("span", { class: "quiet" }, favae.metricText(now.group, item, entry.id)))))),
      h("tbody", {}, KINDS.filter(([kind]) => shown.some((entry) => favae.view(now.group, item, entry.id, kind))).map(([kind, title]) =>
        h("tr", {}, h("th", { scope: "row" }, title), shown.map((entry) => pane(item, entry.id, kind, `${title}: ${entry.label}`))))));
  };

  const values = (item) => {
    const shown = columns().filter((entry) => item.values[entry.id]);
    if (!shown.length) return null;
    return h("details", { class: "more" }, h("summary", {}, "All metrics of this image"), h("table", { class: "plain" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Metric"), shown.map((entry) => h("th", { scope: "col" }, entry.label)))),
      h("tbody", {}, now.group.metrics.map((metric) => h("tr", {}, h("th", { scope: "row" }, `${metric.title}${metric.unit ? ` (${metric.unit})` : ""}`),
        shown.map((entry) => h("td", {}, item.values[entry.id][metric.id] ?? "–")))))));
  };

  const radial = (place) => {
    const shown = columns().filter((entry) => now.group.spectra[entry.id]?.radius?.length);
    if (!shown.length) return;
    const first = now.group.spectra[shown[0].id];
    place.append(h("h3", {}, "Radial spectrum, mean over the test images"));
    chart = favae.chart(place, {
      label: "Power over spatial frequency", x: "spatial frequency (Nyquist = 1)", y: "power (dB)", height: 240,
      series: [["Original", first.radius, first.original_db], ...shown.map((entry) => [entry.label, now.group.spectra[entry.id].radius, now.group.spectra[entry.id].reconstruction_db])]
        .map(([label, xs, ys]) => ({ label, xs, ys })),
    });
  };

  const draw = () => {
    const item = now.items[now.index], name = item.caption || item.id;
    chart?.destroy();
    chart = null;
    const step = (by) => { now.index = (now.index + by + now.items.length) % now.items.length; draw(); };
    const place = h("div", {});
    dialog.replaceChildren(
      h("div", { class: "dialoghead" }, h("h2", { id: "zoom-title" }, name),
        h("button", { type: "button", class: "quiet", "aria-label": "Close", click: () => dialog.close() }, "✕")),
      h("div", { class: "controls", role: "group", "aria-label": "Zoom and other images" },
        h("button", { type: "button", class: "copy", click: () => step(-1) }, "← Previous"),
        h("button", { type: "button", class: "copy", click: () => step(1) }, "Next →"),
        h("button", { type: "button", class: "copy", "aria-label": "Zoom out", click: () => zoomBy(1 / 1.5) }, "−"),
        h("span", { class: "scale" }, "1.0 ×"),
        h("button", { type: "button", class: "copy", "aria-label": "Zoom in", click: () => zoomBy(1.5) }, "+"),
        h("button", { type: "button", class: "copy", click: () => { Object.assign(now, { scale: 1, x: 0, y: 0 }); apply(); } }, "Whole image")),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Views; + and - zoom, arrow keys move" }, views(item)),
      h("p", { class: "quiet" }, now.group.differences && now.group.original
        ? `Difference: mean over channels, black 0 to white ${favae.numbers.differencePeak} of 255 levels and more. Spectrum: zero frequency at the centre, one colour scale for all.`
        : "Spectrum: zero frequency at the centre, one colour scale for all."),
      values(item) ?? "", place);
    apply();
    if (dialog.open) radial(place);
    else { dialog.showModal(); radial(place); }
  };

  /** Open the views of `items[index]` of a set; `state` has the two models that the gallery compares. */
  favae.zoom = (group, items, index, state) => {
    Object.assign(now, { group, items, index, state: { ...state }, scale: 1, x: 0, y: 0 });
    draw();
    dialog.scrollTop = 0;
  };

  dialog.addEventListener("wheel", (event) => {
    if (!event.target.closest(".pane")) return;
    event.preventDefault();
    zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2);
  }, { passive: false });
  dialog.addEventListener("pointermove", (event) => {
    const pane_ = event.target.closest(".pane");
    if (!pane_ || !(event.buttons & 1)) return;
    now.x += event.movementX / pane_.clientWidth;
    now.y += event.movementY / pane_.clientHeight;
    apply();
  });
  dialog.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
    if (event.key === "+" || event.key === "=") zoomBy(1.5);
    else if (event.key === "-") zoomBy(1 / 1.5);
    else if (move && event.target.closest(".scroll") && now.scale > 1) { now.x += move[0]; now.y += move[1]; apply(); event.preventDefault(); }
  });
  dialog.addEventListener("close", () => { chart?.destroy(); chart = null; });
})();
