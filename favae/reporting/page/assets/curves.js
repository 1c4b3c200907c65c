// Charts: a chart function over uPlot, and the learning curves.
"use strict";
(() => {
  const { h } = favae;
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7b5cd6"];
  const MARK = { gan: "start of the GAN", shown: "step that is evaluated" };
  const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /** x values of all series in one row, and each series aligned to them (null where it has no value). */
  const align = (series) => {
    const xs = [...new Set(series.flatMap((one) => one.xs))].sort((a, b) => a - b);
    const at = new Map(xs.map((x, index) => [x, index]));
    return [xs, ...series.map((one) => {
      const row = new Array(xs.length).fill(null);
      one.xs.forEach((x, index) => { row[at.get(x)] = one.ys[index]; });
      return row;
    })];
  };

  /** Vertical dashed lines at steps, drawn under the curves. */
  const marks = (list) => ({ hooks: { drawAxes: [(plot) => {
    const context = plot.ctx;
    for (const { step, colour, dash } of list) {
      const x = plot.valToPos(step, "x", true);
      if (x < plot.bbox.left || x > plot.bbox.left + plot.bbox.width) continue;
      context.save();
      context.strokeStyle = colour;
      context.setLineDash(dash);
      context.lineWidth = devicePixelRatio;
      context.beginPath();
      context.moveTo(x, plot.bbox.top);
      context.lineTo(x, plot.bbox.top + plot.bbox.height);
      context.stroke();
      context.restore();
    }
  }] } });

  /** A chart in `place`. Series: label, xs, ys, and optionally colour, points only, faint. Returns uPlot, which can be destroyed. */
  favae.chart = (place, { label, x, y, height, series, log = false, lines = [] }) => {
    const figure = h("figure", { class: "chart", role: "group", "aria-label": label });
    place.append(figure);
    const axis = { stroke: ink("--muted"), grid: { stroke: ink("--line"), width: 1 }, ticks: { stroke: ink("--line"), width: 1 }, font: "12px system-ui", labelFont: "12px system-ui", labelSize: 18 };
    const number = (value) => value == null ? "–" : Number(value.toPrecision(4)).toString();
    const plot = new uPlot({
      width: Math.max(280, figure.clientWidth), height, plugins: [marks(lines)],
      scales: { x: { time: false }, y: { distr: log ? 3 : 1 } },
      axes: [{ ...axis, label: x }, { ...axis, label: y, size: 60, values: (_, ticks) => ticks.map((tick) => tick == null ? "" : number(tick)) }],
      series: [{ label: "step", value: (_, value) => number(value) }, ...series.map((one, index) => {
        const colour = one.colour ?? COLOURS[index % COLOURS.length];
        return { label: one.label, stroke: one.faint ? `${colour}a8` : colour, width: one.points ? 0 : one.faint ? 1 : 2, spanGaps: true,
          dash: one.dash, points: one.points ? { show: true, size: 7, fill: colour, stroke: colour } : { show: false }, value: (_, value) => number(value) };
      })],
      padding: [null, 36, null, null],
      cursor: { drag: { x: true, y: false } }, legend: { live: true },
    }, align(series), figure);
    const resize = new ResizeObserver(() => { if (figure.clientWidth) plot.setSize({ width: Math.max(280, figure.clientWidth), height }); });
    resize.observe(figure);
    const destroy = plot.destroy.bind(plot);
    plot.destroy = () => { resize.disconnect(); destroy(); figure.remove(); };
    for (const row of figure.querySelectorAll(".u-legend th")) { row.tabIndex = 0; row.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); row.click(); } }); }
    for (const canvas of figure.querySelectorAll("canvas")) canvas.setAttribute("aria-hidden", "true");
    return plot;
  };

  const body = document.getElementById("curves-body");
  if (!body) return;
  const state = { quantity: null, log: false, chosen: null };
  let chart = null;

  const base = (column) => column.replace(/^(train|val)\//, "");
  const isSigma = (name) => /^sigma/.test(name);
  const quantities = () => {
    const names = [...new Set(favae.curves.flatMap((curve) => Object.keys(curve.columns).map(base)))];
    return [...(names.some(isSigma) ? ["sigma"] : []), ...names.filter((name) => !isSigma(name))];
  };
  const has = (curve, quantity) => Object.keys(curve.columns).some((column) => quantity === "sigma" ? isSigma(base(column)) : base(column) === quantity);

  const seriesOf = (curves) => curves.flatMap((curve, index) => {
    const colour = COLOURS[index % COLOURS.length];
    if (state.quantity === "sigma") {
      return Object.entries(curve.columns).filter(([name]) => isSigma(base(name))).map(([name, [xs, ys]], k) => ({
        label: `${curve.label}: ${base(name).replaceAll("_", " ")}`, xs, ys, colour: COLOURS[(curves.length > 1 ? index : k) % COLOURS.length], dash: curves.length > 1 && k ? [2 + 2 * k, 2 + k] : undefined }));
    }
    return [["train", true], ["val", false]].filter(([split]) => curve.columns[`${split}/${state.quantity}`]).map(([split, faint]) => {
      const [xs, ys] = curve.columns[`${split}/${state.quantity}`];
      return { label: `${curve.label}, ${split}`, xs, ys, colour, faint, points: split === "val" };
    });
  });

  const draw = () => {
    chart?.destroy();
    const place = body.querySelector(".place"), foot = body.querySelector(".chartfoot");
    const curves = favae.curves.filter((curve) => has(curve, state.quantity) && state.chosen.has(curve.name));
    if (!curves.length) { chart = null; foot.textContent = "No chosen training has this curve."; return; }
    const lines = curves.flatMap((curve, index) => [
      curve.gan == null ? null : { step: curve.gan, colour: COLOURS[index % COLOURS.length], dash: [2, 4] },
      curve.shown == null ? null : { step: curve.shown, colour: COLOURS[index % COLOURS.length], dash: [8, 4] }]).filter(Boolean);
    chart = favae.chart(place, { label: `${state.quantity} over steps`, x: "step", y: state.quantity, height: 340, series: seriesOf(curves), log: state.log, lines });
    foot.replaceChildren("Dots: validation; faint: training. Drag to zoom, double-click for all; press a name in the legend to hide it.",
      h("details", { class: "more" }, h("summary", {}, "As a table: last values, and what the vertical lines mark"), table(curves)));
  };

  const table = (curves) => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Last values" }, h("table", { class: "plain" },
    h("thead", {}, h("tr", {}, ["Curve", "First", "Last", `Dotted: ${MARK.gan}`, `Dashed: ${MARK.shown}`].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, curves.flatMap((curve) => seriesOf([curve]).map((one) => h("tr", {}, h("th", { scope: "row" }, one.label),
      h("td", {}, String(one.ys[0])), h("td", {}, String(one.ys.at(-1))), h("td", {}, String(curve.gan ?? "–")), h("td", {}, String(curve.shown ?? "–"))))))));

  const start = async () => {
    await favae.load("curves");
    const names = quantities();
    state.quantity = ["l1", "loss", "mse", "cross_entropy"].find((name) => names.includes(name)) ?? names.find((name) => name !== "sigma") ?? names[0];
    state.chosen = new Set(favae.curves.filter((curve) => has(curve, state.quantity)).slice(0, 8).map((curve) => curve.name));
    const pick = (quantity) => {
      state.quantity = quantity;
      const fit = favae.curves.filter((curve) => has(curve, quantity));
      if (!fit.some((curve) => state.chosen.has(curve.name))) fit.slice(0, 8).forEach((curve) => tick(curve.name, true));
      draw();
    };
    const boxes = new Map();
    const tick = (name, on) => { if (on) state.chosen.add(name); else state.chosen.delete(name); boxes.get(name).checked = on; };
    const trainings = h("fieldset", { class: "trainings" }, h("legend", {}, "Trainings"), favae.curves.map((curve) => {
      const box = h("input", { type: "checkbox", checked: state.chosen.has(curve.name), change: () => { tick(curve.name, box.checked); draw(); } });
      boxes.set(curve.name, box);
      return h("label", {}, box, ` ${curve.label}`);
    }));
    const log = h("input", { type: "checkbox", change: () => { state.log = log.checked; draw(); } });
    body.replaceChildren(
      h("div", { class: "controls", role: "group", "aria-label": "What the chart shows" },
        favae.choice("Curve", names.map((name) => [name, name.replaceAll("_", " ")]), state.quantity, pick),
        h("label", { class: "choice row" }, log, " logarithmic")),
      trainings, h("div", { class: "place" }), h("div", { class: "chartfoot quiet" }));
    draw();
    document.addEventListener("favae:theme", draw);
  };
  favae.whenNear(body, () => start().catch((error) => { body.textContent = String(error.message); }));
})();
