// What the pages do beyond HTML: live refresh, copy buttons, selecting all rows, and keys. Every page works without it.
"use strict";

const REFRESH_MS = 5000;
const PAGES = { o: "/", f: "/failures", d: "/dead-letters", r: "/operations", v: "/deliveries", e: "/endpoints", c: "/contacts", p: "/playground", a: "/audit" };

/** Makes the parts work that stay hidden without script. */
function equip(root) {
  for (const button of root.querySelectorAll("button.copy")) {
    button.hidden = false;
  }
  for (const all of root.querySelectorAll("input.all")) {
    all.hidden = false;
  }
}

function copy(button) {
  const confirm = () => {
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1200);
  };
  if (navigator.clipboard) {
    navigator.clipboard.writeText(button.dataset.copy).then(confirm, () => {});
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.copy");
  if (button) {
    copy(button);
  }
});

document.addEventListener("change", (event) => {
  if (event.target.matches("input.all")) {
    for (const box of event.target.closest("form").querySelectorAll("input[name=id]")) {
      box.checked = event.target.checked;
    }
  }
});

/** Whether a refresh would take away what the reader is doing. */
function isInUse(main) {
  const active = document.activeElement;
  return document.hidden
    || (active && active !== document.body && main.contains(active))
    || main.querySelector("input[name=id]:checked, details[open]") !== null
    || !window.getSelection().isCollapsed;
}

async function refresh() {
  const main = document.querySelector("main[data-live]");
  if (!main || isInUse(main)) {
    return;
  }
  const url = new URL(location.href);
  // A notice is about what was done once.
  url.searchParams.delete("done");
  const answer = await fetch(url, { headers: { "x-live": "1" }, redirect: "error" });
  if (!answer.ok) {
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("main[data-live]");
  if (fresh && !isInUse(main)) {
    equip(fresh);
    main.replaceChildren(...fresh.childNodes);
  }
}

if (document.querySelector("main[data-live]")) {
  // An answer that does not come, or a session that has ended, leaves the page as it is.
  setInterval(() => { refresh().catch(() => {}); }, REFRESH_MS);
}

// Keys: "g" and a letter go to a page, "/" goes to the first filter.
let isGoing = false;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) {
    return;
  }
  if (isGoing && PAGES[event.key]) {
    location.href = PAGES[event.key];
  } else if (event.key === "/") {
    const field = document.querySelector("main form input:not([type=hidden]):not([type=checkbox])");
    if (field) {
      event.preventDefault();
      field.focus();
    }
  }
  isGoing = event.key === "g";
});

equip(document);
