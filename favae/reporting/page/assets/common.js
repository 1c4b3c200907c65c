// Helpers of all scripts of the page, and the switch between light and dark.
"use strict";
window.favae ??= {};

/** An element with attributes (functions are listeners) and children; null children are left out. */
favae.h = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
};

/** A sentence for screen readers, and for all readers for two seconds. */
favae.say = (text) => {
  const place = document.getElementById("said");
  if (!place) return;
  place.textContent = text;
  clearTimeout(favae.saying);
  favae.saying = setTimeout(() => { place.textContent = ""; }, 2000);
};

/** Copy text; where the clipboard is refused (some browsers, pages from disk), through a text field. */
favae.copy = async (text, what) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = favae.h("textarea", { class: "hidden" });
    field.value = text;
    (document.querySelector("dialog[open]") ?? document.body).append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  favae.say(`${what} copied`);
};

/** A line of code with a button that copies it. */
favae.code = (text) => favae.h("div", { class: "codeline" },
  favae.h("code", { tabindex: "0" }, text),
  favae.h("button", { type: "button", class: "copy", "aria-label": `Copy: ${text}`, click: () => favae.copy(text, "Command") }, "Copy"));

/** Load a script of data once, when it is needed; a page opened from disk may not fetch JSON. */
favae.load = (name) => (favae.loads ??= {})[name] ??= new Promise((resolve, reject) => {
  document.head.append(favae.h("script", {
    src: `data/${name}.js`, load: () => resolve(favae[name]), error: () => reject(new Error(`data/${name}.js is missing`)),
  }));
});

/** Call `then` once when an element comes near the window. */
favae.whenNear = (element, then) => {
  if (!element) return;
  const watcher = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) { watcher.disconnect(); then(); }
  }, { rootMargin: "600px" });
  watcher.observe(element);
};

/** Whether the page is dark now. */
favae.isDark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

document.getElementById("theme")?.addEventListener("click", () => {
  const next = favae.isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try { localStorage.setItem("favae-theme", next); } catch { /* storage is off: for this page only */ }
  document.dispatchEvent(new Event("favae:theme"));
});

/** A choice with its label; `options` is a list of [value, text]. */
favae.choice = (label, options, value, change) => {
  const select = favae.h("select", { change: () => change(select.value) },
    options.map(([key, text]) => favae.h("option", { value: key, selected: key === value }, text)));
  return favae.h("label", { class: "choice" }, favae.h("span", {}, label), select);
};

for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}
