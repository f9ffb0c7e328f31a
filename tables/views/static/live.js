// Keeps a page up to date. The server renders; this fetches the page's own address again when it hears that
// something has changed, and takes over what differs inside the elements marked data-live.
// Nothing is rendered here and no text becomes markup: what comes is parsed by DOMParser, which runs no scripts.

const LEAST_MS = 500; // between two refreshes
const TYPING_MS = 3000; // of quiet after the last key in a field
const PRESSING_MS = 10000; // after which a pointer that is not heard of any more is up
const PATIENCE_MS = 10000;
const AGAIN_MS = 2000; // between two tries while there is no answer
const PIECE_MS = 12; // of work at a time
const SILENT_MS = 8000; // after which the server is silent: it says every two seconds that it is there
const MANY = 200; // rows of one table, from which on they are parsed a few at a time
const FEW = 50;

const pause = document.getElementById("pause");
const offline = document.getElementById("offline");

// ------------------------------------------------------------------ taking over what differs

const sameKind = (one, other) =>
  one.nodeType === other.nodeType && one.nodeName === other.nodeName
  && (one.nodeType !== Node.ELEMENT_NODE || one.getAttribute("data-key") === other.getAttribute("data-key"));

const byKey = (parent) => {
  const found = new Map();
  for (const child of parent.children) if (child.dataset?.key !== undefined) found.set(child.dataset.key, child);
  return found;
};

// Puts `child` before `next`, one that stands earlier. What has the focus would lose it, and the browser would
// scroll to it: so it stays, and all from `next` on go behind it.
const bring = (parent, child, next) => {
  if (!child.contains(document.activeElement)) {
    parent.insertBefore(child, next);
    return;
  }
  while (next !== child) {
    const moved = next;
    next = next.nextSibling;
    parent.insertBefore(moved, child.nextSibling);
  }
};

// Changes `shown` into `wanted` and keeps what is the same, so that focus, scroll positions and hovering stay.
// It goes on after each child, so that thousands of rows are no long task; elements below are changed in one go.
// `children` are those of `wanted`, unless they are found on the way; then `wantedKeys` knows their keys.
function* changing(shown, wanted, children = null, wantedKeys = null) {
  if (shown === wanted || shown.isEqualNode(wanted)) return;
  if (shown.nodeType !== Node.ELEMENT_NODE) {
    shown.nodeValue = wanted.nodeValue;
    return;
  }
  for (const { name } of [...shown.attributes]) {
    if (name === "open" && shown.nodeName === "DETAILS") continue; // the reader opened it
    if (!wanted.hasAttribute(name)) shown.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  const keyed = byKey(shown);
  wantedKeys ??= byKey(wanted);
  // What stands in the way of an element: a row that has gone, and the blanks between two of those.
  const isInTheWay = (node) => node.nodeType === Node.ELEMENT_NODE
    ? node.dataset?.key !== undefined && !wantedKeys.has(node.dataset.key)
    : node.nodeValue.trim() === "";
  let at = shown.firstChild;
  for (const next of children ?? [...wanted.childNodes]) {
    const isElement = next.nodeType === Node.ELEMENT_NODE;
    while (isElement && at && isInTheWay(at)) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
    const known = isElement ? keyed.get(next.dataset?.key) : undefined;
    if (known && known !== at && sameKind(known, next)) {
      bring(shown, known, at);
      change(known, next);
      at = known.nextSibling;
    } else if (at && sameKind(at, next)) {
      change(at, next);
      at = at.nextSibling;
    } else {
      shown.insertBefore(document.importNode(next, true), at);
    }
    yield;
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
    yield;
  }
}

const change = (shown, wanted) => {
  const steps = changing(shown, wanted);
  while (!steps.next().done);
};

const otherTasks = () => new Promise((go) => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => { port1.close(); go(); };
  port2.postMessage(0);
});

// ------------------------------------------------------------------ tables of many rows

const parsed = (text) => new DOMParser().parseFromString(text, "text/html");

const ROW = '<tr data-key="';
const BODY = '<tbody id="';
const keyOf = (row) => row.slice(ROW.length, row.indexOf('"', ROW.length));

// The rows of a table as text; null where they have no keys.
const splitRows = (text) => {
  const rows = [];
  let at = text.indexOf(ROW);
  if (at < 0 || text.slice(0, at).trim() !== "") return null;
  while (at >= 0) {
    const next = text.indexOf(ROW, at + 1);
    rows.push(text.slice(at, next < 0 ? undefined : next));
    at = next;
  }
  return rows;
};

// The page without the rows of the tables that have many, and those rows as text by the ids of their tables.
// A name that a publisher chose has no "<" of its own there, so what looks like a row is one.
const cut = (text) => {
  const many = new Map();
  let rest = "";
  let done = 0;
  for (let at = text.indexOf(BODY); at >= 0; at = text.indexOf(BODY, at + 1)) {
    const begin = text.indexOf(">", at) + 1;
    const end = text.indexOf("</tbody>", begin);
    const rows = end < 0 ? null : splitRows(text.slice(begin, end));
    if (rows === null || rows.length < MANY) continue;
    many.set(text.slice(at + BODY.length, text.indexOf('"', at + BODY.length)), rows);
    rest += text.slice(done, begin);
    done = end;
  }
  return [rest + text.slice(done), many];
};

// What each row that was taken over was made of, by the id of its table and its key.
const madeOf = new Map();

// The rows of a table: as they are shown where their text is as before, the others parsed a few at a time.
function* rowsOf(shown, texts, wantedKeys) {
  if (!madeOf.has(shown.id)) madeOf.set(shown.id, new Map());
  const known = madeOf.get(shown.id);
  const keyed = byKey(shown);
  for (let at = 0; at < texts.length; at += FEW) {
    const some = texts.slice(at, at + FEW).map((text) => ({ key: keyOf(text), text }));
    const changed = some.filter(({ key, text }) => known.get(key) !== text || !keyed.has(key));
    const fresh = changed.length
      ? byKey(parsed(`<table><tbody>${changed.map(({ text }) => text).join("")}</table>`).querySelector("tbody"))
      : new Map();
    for (const { key, text } of some) {
      yield fresh.get(key) ?? keyed.get(key);
      known.set(key, text); // it is taken over once the next one is asked for
    }
  }
  for (const key of known.keys()) if (!wantedKeys.has(key)) known.delete(key);
}

// ------------------------------------------------------------------ taking over a page

// Whether all of it was taken over; it ends early where somebody begins to type or to select.
const takeOver = async (text) => {
  let since = performance.now();
  const [rest, many] = cut(text);
  const page = parsed(rest);
  for (const shown of document.querySelectorAll("[data-live][id]")) {
    const wanted = page.getElementById(shown.id);
    if (!wanted) continue;
    const texts = many.get(shown.id);
    if (!texts) madeOf.delete(shown.id);
    const keys = texts && new Set(texts.map(keyOf));
    const steps = texts ? changing(shown, wanted, rowsOf(shown, texts, keys), keys) : changing(shown, wanted);
    while (!steps.next().done) {
      if (performance.now() - since < PIECE_MS) continue;
      await otherTasks();
      if (isBusy()) return false;
      since = performance.now();
    }
  }
  document.title = page.title;
  document.dispatchEvent(new CustomEvent("tocsin:refreshed"));
  return true;
};

// ------------------------------------------------------------------ when it is a bad moment

let typedAt = -TYPING_MS;
let pressedAt = -PRESSING_MS;
let isPaused = false;
const isField = (element) => element instanceof Element && element.matches("input, select, textarea");
document.addEventListener("input", () => { typedAt = performance.now(); }, true);
document.addEventListener("keydown", (pressed) => { if (isField(pressed.target)) typedAt = performance.now(); }, true);
document.addEventListener("pointerdown", (pressed) => {
  pressedAt = performance.now();
  if (isField(pressed.target)) typedAt = pressedAt;
}, true);
const isUp = () => { pressedAt = -PRESSING_MS; };
for (const name of ["pointerup", "pointercancel", "dragend", "blur"]) addEventListener(name, isUp, true);
// Where a scroll bar or a menu had the pointer, nobody says that it is up again.
addEventListener("pointermove", (moved) => { if (!moved.buttons) isUp(); }, { capture: true, passive: true });

const isSelecting = () => String(getSelection()).length > 0;

const isBusy = () =>
  isPaused || document.hidden || isSelecting()
  || performance.now() - pressedAt < PRESSING_MS
  || performance.now() - typedAt < TYPING_MS;

// ------------------------------------------------------------------ refreshing

let wanted = false;
let isRefreshing = false;
let refreshedAt = -LEAST_MS;
let waitMs = LEAST_MS;
let soon = 0; // the timer of a refresh that was wanted too early
let reachedAt = performance.now();
let heardAt = performance.now();

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
  if (isBusy() || !(await takeOver(text))) wanted = true;
};

const say = (text) => { if (offline.textContent !== text) offline.textContent = text; };
const isSilent = () => !document.hidden && !isPaused && performance.now() - heardAt > SILENT_MS;
const unreached = () => say(`no answer for ${Math.round((performance.now() - reachedAt) / 1000)} s`);

const look = async () => {
  if (isSilent()) {
    wanted = true; // the stream may lead nowhere: a page that is asked for tells
    unreached();
  }
  if (wanted && isSelecting() && !document.hidden && !isPaused) say("waits: text is selected");
  if (!wanted || isRefreshing || isBusy()) return;
  const earlyMs = refreshedAt + waitMs - performance.now();
  if (earlyMs > 0) {
    clearTimeout(soon);
    soon = setTimeout(look, earlyMs);
    return;
  }
  wanted = false;
  isRefreshing = true;
  refreshedAt = performance.now();
  try {
    await refresh();
    reachedAt = performance.now();
    heardAt = reachedAt;
    waitMs = LEAST_MS;
    if (!isPaused) say("");
  } catch {
    wanted = true;
    waitMs = AGAIN_MS;
    unreached();
  }
  isRefreshing = false;
  if (wanted) look();
};

let source = null;
const listen = () => {
  if (source || document.hidden) return;
  source = new EventSource("live");
  source.addEventListener("changed", () => {
    heardAt = performance.now();
    wanted = true;
    waitMs = LEAST_MS;
    look();
  });
  source.addEventListener("error", () => {
    wanted = true; // without the stream the page is asked for now and then
    if (source && source.readyState === EventSource.CLOSED) {
      source = null;
      setTimeout(listen, 5000);
    }
  });
};

// A page that nobody sees keeps no connection: browsers have six of them for all pages of a server together.
const shownOrHidden = () => {
  if (document.hidden) {
    source?.close();
    source = null;
  } else {
    wanted = true;
    heardAt = performance.now();
    listen();
    look();
  }
};

if (pause && !document.querySelector(".mistake")) {
  pause.hidden = false;
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    heardAt = performance.now();
    say(isPaused ? `paused since ${new Date().toISOString().slice(11, 19)} UTC` : "");
    wanted = true;
    look();
  });
  document.addEventListener("visibilitychange", shownOrHidden);
  setInterval(look, LEAST_MS);
  listen();
}
