// Refreshes the page through the API every two seconds. Without it, the page is complete as it came.
// What comes from the API is only ever set as text: event types are chosen by whoever publishes.
"use strict";

(() => {
  const EVERY_MS = 2000;
  const PATIENCE_MS = 10000;
  const STALE_S = 15;
  const PAGE_ITEMS = "50";
  const URGENT_FIRST = "priority";
  const byId = (id) => document.getElementById(id);
  const number = (value) => Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");

  const age = (seconds) => {
    if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
    return `${Math.floor(seconds / 86400)} d`;
  };

  const amount = (size) => {
    if (size < 1024) return `${size} B`;
    const units = ["KiB", "MiB", "GiB"];
    let unit = -1;
    do { size /= 1024; unit += 1; } while (size >= 1024 && unit < units.length - 1);
    return `${size.toFixed(1)} ${units[unit]}`;
  };

  const element = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const priority = (name) => element("span", `priority ${name.toLowerCase().replace(/[^a-z]/g, "")}`, name);

  // What cannot be seen in a name is shown as an escape, as the server does.
  const HIDDEN = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u00a0\u1680\u2000-\u200a\u202f\u205f\u2800\u3000\ufffb]/gu;
  const escaped = (character) => {
    const code = character.codePointAt(0).toString(16);
    if (code.length <= 2) return `\\x${code.padStart(2, "0")}`;
    return code.length <= 4 ? `\\u${code.padStart(4, "0")}` : `\\U${code.padStart(8, "0")}`;
  };

  // Long event types wrap after their dots and the like.
  const breakable = (place, name) => {
    const text = name.replace(HIDDEN, escaped);
    const parts = text.match(/[^./_:-]*[./_:-]?/g).filter((part) => part);
    place.append(...parts.flatMap((part, at) => (at ? [element("wbr"), part] : [part])));
  };

  const row = (item, now) => {
    const made = element("tr");
    const head = element("th");
    breakable(head, item.event_type);
    head.scope = "row";
    const of = element("td");
    of.append(priority(item.priority));
    const seen = element("td", "number", item.last_seen ? "" : "–");
    if (item.last_seen) {
      const time = element("time", "", `${age((now - Date.parse(item.last_seen)) / 1000)} ago`);
      time.dateTime = time.title = item.last_seen;
      seen.append(time);
    }
    made.append(head, of, element("td", "number", number(item.count)), seen);
    return made;
  };

  const setText = (place, text) => {
    if (place.textContent !== text) place.textContent = text;
  };

  const showCounts = (answer, now, asked) => {
    byId("items").replaceChildren(...answer.items.map((item) => row(item, now)));
    byId("none").hidden = answer.items.length > 0;
    byId("late").hidden = answer.late.length === 0;
    byId("late").replaceChildren(...answer.late.map((late) => element("li", "", late.hint)));
    const next = byId("next");
    next.hidden = answer.next === null;
    if (answer.next !== null) {
      const onward = new URLSearchParams(asked);
      onward.set("cursor", answer.next);
      next.href = `./?${onward}`;
    }
    const asOf = byId("as-of");
    setText(asOf, answer.as_of === null ? "not yet known" : answer.as_of.slice(11, 19));
    if (answer.as_of !== null) asOf.dateTime = answer.as_of;
    const old = answer.as_of === null ? 0 : (now - Date.parse(answer.as_of)) / 1000;
    byId("old").hidden = old <= STALE_S;
    setText(byId("old"), `${age(old)} old`);
    const completeness = byId("completeness");
    completeness.className = answer.complete ? "quiet" : "warn";
    setText(completeness, answer.complete
      ? "complete"
      : `still reading ${answer.missing_partitions.length || "all"} partitions: counts may be too low`);
  };

  const showClasses = (answer) => {
    if (answer.classes.length > 0 && byId("classes").children.length === 0) location.reload(); // it has just started
    for (const state of answer.classes) {
      const found = document.querySelector(`#classes tr[data-class="${CSS.escape(state.priority)}"]`);
      if (!found) continue;
      const cells = found.children;
      const share = state.share;
      setText(cells[1], String(Number(state.weight.toPrecision(6))));
      cells[2].querySelector(".bar").setAttribute("width", (100 * share.achieved).toFixed(2));
      cells[2].querySelector(".due").setAttribute("x", Math.min(100 * share.configured, 99.2).toFixed(2));
      cells[2].querySelector(".words").replaceChildren(
        `${(100 * share.achieved).toFixed(1)} % `,
        element("span", "quiet", `of ${(100 * share.configured).toFixed(1)}`));
      setText(cells[3], number(state.lag.records));
      setText(cells[4], age(state.lag.seconds));
      cells[5].replaceChildren(`${number(state.buffered.records)} `, element("span", "quiet", state.buffered.bytes ? amount(state.buffered.bytes) : ""));
      setText(cells[6], number(state.dispatched));
    }
  };

  const showHealth = (live, ready) => {
    const badge = byId("health");
    const ok = live.status === "ok" && ready.status === "ok";
    badge.className = `badge ${ok ? "ok" : "bad"}`;
    setText(badge, ok ? "ready" : live.status === "ok" ? "not ready" : "stuck");
    const reasons = [...live.reasons, ...ready.reasons];
    byId("reasons").hidden = reasons.length === 0;
    byId("reasons").replaceChildren(...reasons.map((reason) => element("li", "", reason)));
  };

  const ask = async (address, states) => {
    const answer = await fetch(address, { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.status === 401) location.reload(); // the session has ended: the server shows where to sign in
    if (!states.includes(answer.status)) throw new Error(String(answer.status));
    return { body: await answer.json(), at: Date.parse(answer.headers.get("date")) || Date.now() };
  };

  const refresh = async () => {
    const asked = new URLSearchParams(location.search);
    const page = new URLSearchParams(asked);
    if (!page.get("limit")) page.set("limit", PAGE_ITEMS);
    if (!page.get("sort")) page.set("sort", URGENT_FIRST);
    const [counts, classes, live, ready] = await Promise.all([
      ask(`api/v1/counts?${page}`, [200]),
      ask("api/v1/scheduler", [200]),
      ask("livez", [200, 503]),
      ask("readyz", [200, 503]),
    ]);
    showCounts(counts.body, counts.at, asked); // the server's clock, not the reader's
    showClasses(classes.body);
    showHealth(live.body, ready.body);
  };

  let reached = Date.now();
  const again = async () => {
    const offline = byId("offline");
    try {
      const selecting = String(getSelection()).length > 0;
      if (!document.hidden && !selecting) await refresh(); // let people copy what they selected
      reached = Date.now();
      offline.hidden = true;
    } catch {
      offline.hidden = false;
      setText(offline, `no answer for ${age((Date.now() - reached) / 1000)}`);
    }
    setTimeout(again, EVERY_MS);
  };
  if (!document.querySelector(".mistake")) setTimeout(again, EVERY_MS);
})();
