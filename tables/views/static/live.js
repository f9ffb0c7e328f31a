// Keeps a page up to date. The server renders; this fetches the page's own address again when it hears that
// something has changed, and takes over what differs inside the elements marked data-live.
// Nothing is rendered here and no text becomes markup: what comes is parsed by DOMParser, which runs no scripts.

const LEAST_MS = 500; // between two refreshes
const TYPING_MS = 3000; // of quiet after the last key in a field
const PATIENCE_MS = 10000;

const pause = document.getElementById("pause");
const offline = document.getElementById("offline");

// ------------------------------------------------------------------ taking over what differs

const sameKind = (one, other) =>
  one.nodeType === other.nodeType && one.nodeName === other.nodeName
  && (one.nodeType !== Node.ELEMENT_NODE || one.getAttribute("data-key") === other.getAttribute("data-key"));

// Changes `shown` into `wanted` and keeps what is the same, so that focus, scroll positions and hovering stay.
const change = (shown, wanted) => {
  if (shown.isEqualNode(wanted)) return;
  if (shown.nodeType !== Node.ELEMENT_NODE) {
    shown.nodeValue = wanted.nodeValue;
    return;
  }
  for (const { name } of [...shown.attributes]) {
    if (name === "open" && shown.nodeName === "DETAILS") continue; // the reader opened it
    if (!wanted.hasAttribute(name)) shown.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  const keyed = new Map();
  for (const child of shown.children) if (child.dataset && child.dataset.key !== undefined) keyed.set(child.dataset.key, child);
  let at = shown.firstChild;
  for (const next of [...wanted.childNodes]) {
    const known = next.nodeType === Node.ELEMENT_NODE && next.dataset ? keyed.get(next.dataset.key) : undefined;
    if (known && known !== at && sameKind(known, next)) {
      shown.insertBefore(known, at);
      change(known, next);
    } else if (at && sameKind(at, next)) {
      change(at, next);
      at = at.nextSibling;
    } else {
      shown.insertBefore(document.importNode(next, true), at);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
};

const takeOver = (page) => {
  for (const shown of document.querySelectorAll("[data-live][id]")) {
    const wanted = page.getElementById(shown.id);
    if (wanted) change(shown, wanted);
  }
  document.title = page.title;
  document.dispatchEvent(new CustomEvent("tocsin:refreshed"));
};

// ------------------------------------------------------------------ when it is a bad moment

let typedAt = -TYPING_MS;
let isPressed = false;
let isPaused = false;
const isField = (element) => element instanceof Element && element.matches("input, select, textarea");
document.addEventListener("input", () => { typedAt = performance.now(); }, true);
document.addEventListener("keydown", (pressed) => { if (isField(pressed.target)) typedAt = performance.now(); }, true);
document.addEventListener("pointerdown", (pressed) => {
  isPressed = true;
  if (isField(pressed.target)) typedAt = performance.now();
}, true);
for (const name of ["pointerup", "pointercancel", "blur"]) addEventListener(name, () => { isPressed = false; }, true);

const isBusy = () =>
  isPaused || document.hidden || isPressed
  || String(getSelection()).length > 0
  || performance.now() - typedAt < TYPING_MS;

// ------------------------------------------------------------------ refreshing

let wanted = false;
let isRefreshing = false;
let refreshedAt = -LEAST_MS;
let reachedAt = performance.now();

const refresh = async () => {
  const answer = await fetch(location.href, {
    headers: { Accept: "text/html" },
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  if (answer.redirected || answer.status === 401) { // the session has ended: the server shows where to sign in
    location.reload();
    return;
  }
  if (!answer.ok) throw new Error(String(answer.status));
  const text = await answer.text();
  if (!isBusy()) takeOver(new DOMParser().parseFromString(text, "text/html"));
  else wanted = true;
};

const say = (text) => { if (offline.textContent !== text) offline.textContent = text; };
const unreached = () => say(`no answer for ${Math.round((performance.now() - reachedAt) / 1000)} s`);

const look = async () => {
  if (!wanted || isRefreshing || isBusy() || performance.now() - refreshedAt < LEAST_MS) return;
  wanted = false;
  isRefreshing = true;
  refreshedAt = performance.now();
  try {
    await refresh();
    reachedAt = performance.now();
    say("");
  } catch {
    wanted = true;
    unreached();
  }
  isRefreshing = false;
};

let source;
const listen = () => {
  source = new EventSource("live");
  source.addEventListener("changed", () => {
    wanted = true;
    reachedAt = performance.now();
    look();
  });
  source.addEventListener("error", () => {
    unreached();
    wanted = true; // without the stream the page is asked for now and then
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
  });
};

if (pause && !document.querySelector(".mistake")) {
  pause.hidden = false;
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    look();
  });
  document.addEventListener("visibilitychange", look);
  setInterval(look, LEAST_MS);
  listen();
}
