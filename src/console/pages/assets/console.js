// What the pages do beyond HTML: live refresh, copy buttons, ticked rows, and keys. Every page works without it.
"use strict";

const REFRESH_MS = 5000;
const SEQUENCE_MS = 1500;
/** The name under which this browser remembers that its reader wants no keys. */
const NO_KEYS = "no-keys";
const FIRST_FILTER = ".filters input:not([type=hidden])";
/** Where a table is laid out as cards, some browsers forget that it is one. */
const ROLES = { TABLE: "table", THEAD: "rowgroup", TBODY: "rowgroup", TR: "row", TD: "cell" };

const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

/** Makes the parts work that stay hidden without script. */
function equip(root) {
  for (const part of all(".scripted", root)) {
    // Browsers have a clipboard only for pages that arrived safely.
    part.hidden = part.matches(".copy") && !navigator.clipboard;
  }
  for (const part of all("[data-key]", root)) {
    part.setAttribute("aria-keyshortcuts", part.dataset.key);
  }
  one(FIRST_FILTER, root)?.setAttribute("aria-keyshortcuts", "/");
  for (const part of all("table.cards, table.cards *", root)) {
    const isHeader = part.tagName === "TH";
    const role = isHeader ? (part.closest("thead") ? "columnheader" : "rowheader") : ROLES[part.tagName];
    if (role) {
      part.setAttribute("role", role);
    }
  }
  count(root);
}

/** Says how many rows are ticked, and lets only then act on them. */
function count(root) {
  for (const bar of all(".bulk", root)) {
    const boxes = all("input[name=id]", bar.closest("form"));
    const ticked = boxes.filter((box) => box.checked).length;
    const whole = one("input.all", bar);
    whole.checked = ticked > 0 && ticked === boxes.length;
    whole.indeterminate = ticked > 0 && !whole.checked;
    one(".ticked", bar).textContent = `${ticked} selected`;
    for (const button of all("button[name=action]", bar)) {
      button.disabled = ticked === 0;
    }
  }
}

function copy(button) {
  navigator.clipboard.writeText(button.dataset.copy).then(() => {
    button.textContent = "Copied";
    one("#said").textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; one("#said").textContent = ""; }, 1200);
  }, () => {});
}

document.addEventListener("click", (event) => {
  const part = event.target.closest("button.copy, button.pause, button.keys, a.back");
  if (part?.matches(".copy")) {
    copy(part);
  } else if (part?.matches(".pause")) {
    isPaused = !isPaused;
    part.textContent = isPaused ? "Resume" : "Pause";
    tick();
  } else if (part?.matches(".keys")) {
    one("#keys").showModal();
  } else if (part && history.length > 1) {
    // As it was left, with what was typed.
    event.preventDefault();
    history.back();
  }
});

document.addEventListener("change", (event) => {
  if (event.target.matches("input.all")) {
    for (const box of all("input[name=id]", event.target.closest("form"))) {
      box.checked = event.target.checked;
    }
  } else if (event.target.matches("#no-keys")) {
    remember(event.target.checked);
  }
  count(document);
});

// Live refresh: the page is loaded again, unless that would take away what the reader is doing.

let isPaused = false;
let updated = new Date();

function isChanged(field) {
  if (field.tagName !== "SELECT") {
    return field.type === "checkbox" ? field.checked !== field.defaultChecked : field.value !== field.defaultValue;
  }
  return field.selectedIndex !== Math.max(0, [...field.options].findIndex((option) => option.defaultSelected));
}

function isInUse(main) {
  const active = document.activeElement;
  return (main.contains(active) && !active.matches("a[href], button.copy"))
    || all("input:not([type=hidden]), select, textarea", main).some(isChanged)
    || one("details[open]:not(.more)", main) !== null
    || !window.getSelection().isCollapsed;
}

/** Loads the page again. Returns what the reader must know about it, if anything. */
async function refresh(main) {
  const waits = () => isPaused ? "Paused" : isInUse(main) ? "Waits while you work on the page" : "";
  if (waits()) {
    return waits();
  }
  const url = new URL(location.href);
  // A notice is about what was done once.
  url.searchParams.delete("done");
  const silent = `No answer since ${updated.toLocaleTimeString()}: load the page again`;
  try {
    const answer = await fetch(url, { redirect: "manual", signal: AbortSignal.timeout(2 * REFRESH_MS) });
    if (answer.type === "opaqueredirect") {
      return "Signed out: load the page again";
    }
    const page = answer.ok && new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page && one("main", page);
    if (!fresh) {
      return silent;
    }
    if (!waits()) {
      swap(main, fresh);
    }
    return waits();
  } catch {
    return silent;
  }
}

/** Takes over a new version of the page, and keeps what the reader has opened and where they are. */
function swap(main, fresh) {
  const active = document.activeElement;
  const name = active.matches("a[href]") ? "href" : "data-copy";
  const same = (part) => part.getAttribute(name) === active.getAttribute(name);
  const place = main.contains(active) ? all(`[${name}]`, main).filter(same).indexOf(active) : -1;
  const isOpen = one("details.more", main)?.open;
  equip(fresh);
  one("details.more", fresh)?.toggleAttribute("open", isOpen ?? false);
  main.replaceChildren(...fresh.childNodes);
  // What has ended is shown once more, and then no longer loaded.
  main.toggleAttribute("data-live", fresh.hasAttribute("data-live"));
  updated = new Date();
  if (place >= 0) {
    all(`[${name}]`, main).filter(same)[place]?.focus({ preventScroll: true });
  }
}

async function tick() {
  const main = one("main[data-live]");
  const bar = one(".live");
  if (!bar || document.hidden) {
    return;
  }
  const remark = main ? await refresh(main) : "No longer changes";
  // A text that stays the same is not announced again.
  const status = one("[role=status]", bar);
  if (status.textContent !== remark) {
    status.textContent = remark;
  }
  one("time", bar).textContent = updated.toLocaleTimeString();
  one("button", bar).hidden = !main;
}

async function live() {
  await tick();
  setTimeout(live, REFRESH_MS);
}

// Keys.

function wantsNone() {
  try {
    return localStorage.getItem(NO_KEYS) !== null;
  } catch {
    return false;
  }
}

function remember(isNone) {
  try {
    isNone ? localStorage.setItem(NO_KEYS, "") : localStorage.removeItem(NO_KEYS);
  } catch {
    // A browser that keeps nothing begins each page with keys.
  }
}

/** Goes to the next row of the page's tables, or with -1 to the one before. */
function move(step) {
  const rows = all("main tbody tr").filter((row) => one("a", row));
  const at = rows.indexOf(document.activeElement.closest("tr"));
  const row = rows[at < 0 ? 0 : at + step];
  (row && (one("th a", row) ?? one("a", row)))?.focus();
}

const KEYS = {
  "?": () => one("#keys").showModal(),
  "/": () => one(FIRST_FILTER)?.focus(),
  j: () => move(1),
  k: () => move(-1),
  x: () => document.activeElement.closest("tr")?.querySelector("input[name=id]")?.click(),
  n: () => one("main a[rel=next]")?.click(),
};

/** What this key presses: a button of the row that has the focus, or one outside of all rows. */
function pressed(kind, key) {
  const row = document.activeElement.closest("tr");
  const parts = all(`[data-${kind}="${CSS.escape(key)}"]:enabled, a[data-${kind}="${CSS.escape(key)}"]`);
  const part = parts.find((part) => row?.contains(part)) ?? parts.find((part) => !part.closest("tr"));
  return part && (() => part.click());
}

let begun = 0;
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches("input:not([type=checkbox]), select, textarea") || event.target.closest("dialog");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || wantsNone()) {
    return;
  }
  const isSecond = Date.now() - begun < SEQUENCE_MS;
  begun = event.key === "g" ? Date.now() : 0;
  const act = (isSecond ? null : KEYS[event.key]) ?? pressed(isSecond ? "go" : "key", event.key);
  if (act) {
    event.preventDefault();
    act();
  }
});

equip(document);
if (one("#no-keys")) {
  one("#no-keys").checked = wantsNone();
}
if (one("main[data-live]")) {
  one(".live time").textContent = updated.toLocaleTimeString();
  setTimeout(live, REFRESH_MS);
}
// A page that is shown again from the browser's memory may have ticks.
window.addEventListener("pageshow", () => count(document));
document.addEventListener("visibilitychange", () => { tick(); });
