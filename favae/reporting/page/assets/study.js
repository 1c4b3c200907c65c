// A two-alternative study: order and side are drawn here, answers stay in this page until they are saved.
"use strict";
(() => {
  const seed = crypto.getRandomValues(new Uint32Array(1))[0];
  const participant = [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

  /** Random numbers that the seed in the answers makes again (mulberry32). */
  const random = (() => {
    let state = seed;
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  })();
  const shuffled = (items) => {
    const list = [...items];
    for (let i = list.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [list[i], list[j]] = [list[j], list[i]];
    }
    return list;
  };

  const trials = shuffled(favae.study.trials).map((trial) => ({ ...trial, sides: shuffled(trial.sides) }));
  const answers = [];
  const part = (id) => document.getElementById(id);
  let shownAt = 0;

  const show = () => {
    const trial = trials[answers.length];
    if (!trial) {
      part("trial").hidden = true;
      part("end").hidden = false;
      part("end-title").focus();
      return;
    }
    part("number").textContent = String(answers.length + 1);
    part("progress").value = answers.length;
    part("reference").src = trial.files.original;
    ["left", "right"].forEach((side, index) => { part(side).firstElementChild.src = trial.files[trial.sides[index]]; });
    shownAt = performance.now();
  };

  const choose = (side) => {
    if (part("trial").hidden || answers.length >= trials.length) return;
    const { image, sides: [left, right] } = trials[answers.length];
    answers.push({ image, left, right, chosen: side, milliseconds: Math.round(performance.now() - shownAt) });
    show();
  };

  favae.answers = () => {
    const { study, scale, models } = favae.study;
    return { study, scale, models, participant, seed, trials: answers };
  };

  part("start").addEventListener("click", () => { part("begin").hidden = true; part("trial").hidden = false; show(); });
  for (const side of ["left", "right"]) part(side).addEventListener("click", () => choose(side));
  addEventListener("keydown", (event) => {
    const side = { ArrowLeft: "left", ArrowRight: "right" }[event.key];
    if (side && !event.repeat) { event.preventDefault(); choose(side); }
  });
  part("save").addEventListener("click", () => {
    const file = new Blob([JSON.stringify(favae.answers(), null, 1)], { type: "application/json" });
    const link = favae.h("a", { href: URL.createObjectURL(file), download: `study-${participant}.json` });
    link.click();
    favae.say("Saved");
  });
})();
