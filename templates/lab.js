"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
/* What a PC said is only ever a text node. */
const make = (name, given = {}, ...children) => {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (key === "class") node.className = value;
    else if (key === "click") node.addEventListener("click", value);
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
};
const SVG = "http://www.w3.org/2000/svg";
const slug = (word) => word.replace(" ", "-");
const icon = (word) => {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", "#" + slug(word));
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
};
const many = (count, what) => count + " " + what + (count === 1 ? "" : "s");

/* Times and sizes. */
const now = Date.now() / 1000;
const age = (seconds) => {
  const s = Math.max(0, Math.round(seconds));
  if (s < 100) return s + " s";
  if (s < 6000) return Math.round(s / 60) + " min";
  if (s < 172800) return Math.round(s / 3600) + " h";
  return Math.floor(s / 86400) + " days";
};
const moment = (epoch) => new Date(epoch * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
const clock = (seconds) => {
  const s = Math.round(seconds);
  const two = (n) => String(n).padStart(2, "0");
  const minutes = Math.floor(s / 60) % 60, hours = Math.floor(s / 3600);
  return hours ? hours + ":" + two(minutes) + ":" + two(s % 60) : minutes + ":" + two(s % 60);
};
const size = (bytes) => {
  if (bytes < 1e6) return Math.ceil(bytes / 1e3) + " kB";
  return bytes < 1e9 ? Math.ceil(bytes / 1e6) + " MB" : (bytes / 1e9).toFixed(1) + " GB";
};

/* A PC is as bad as the worst of its VMs. */
const rank = (word) => data.words.indexOf(word);
const EMPTY = "no VM";
const worst = (pc) => pc.vms.reduce((word, vm) => (word === EMPTY || rank(vm.state) < rank(word) ? vm.state : word), EMPTY);
const ATTENTION = ["failed", "paused", "waiting", "booting"];
const pcs = data.rooms.flatMap((room) => room.pcs.map((pc) => ({ room, pc })));
const vms = pcs.flatMap(({ room, pc }) => pc.vms.map((vm) => ({ room, pc, vm })));
const counts = data.words
  .map((word) => [word, vms.filter(({ vm }) => vm.state === word).length])
  .filter(([, count]) => count);

/* The head. */
const about = () => {
  const words = [many(data.rooms.filter((room) => room.name).length, "room"), many(pcs.length, "PC"), many(vms.length, "VM")];
  if (data.base) words.push("base " + data.base);
  if (data.answered) {
    const [oldest, newest] = data.answered;
    words.unshift("Asked " + moment(newest) + " (" + age(now - newest) + " ago)");
    if (newest - oldest > 3600) words.push("the oldest answer is " + age(now - oldest) + " old");
  } else words.unshift("No PC has answered yet");
  at("about").textContent = words.join("  ·  ");
  document.querySelector("h1").textContent = document.title;
};

/* Filters: by states, and by words. */
const chosen = new Set();
const filter = () => {
  const words = at("words").value.trim().toLowerCase();
  let shown = 0;
  for (const section of at("rooms").children) {
    let here = 0;
    for (const tile of section.lastChild.children) {
      const { states, text } = tile.facts;
      tile.hidden = (chosen.size > 0 && !states.some((state) => chosen.has(state))) || !text.includes(words);
      here += tile.hidden ? 0 : 1;
    }
    section.hidden = here === 0;
    shown += here;
  }
  at("shown").textContent = shown === pcs.length ? "" : shown + " of " + many(pcs.length, "PC") + " shown";
};
const filters = () => {
  for (const [word, count] of counts) {
    const button = make("button", { type: "button", class: slug(word), "aria-pressed": "false" }, icon(word), make("b", {}, String(count)), word);
    button.addEventListener("click", () => {
      if (!chosen.delete(word)) chosen.add(word);
      button.setAttribute("aria-pressed", String(chosen.has(word)));
      filter();
    });
    at("filters").append(button);
    const part = make("i", { class: slug(word) });
    part.style.flexGrow = count;
    at("share").append(part);
  }
  at("words").addEventListener("input", filter);
};

/* The rooms. */
const tile = ({ room, pc }) => {
  const word = worst(pc);
  const names = pc.vms.map((vm) => vm.name).join(" ");
  const alike = pc.vms.filter((vm) => vm.state === word).length;
  const told = pc.vms.length > 1 && alike < pc.vms.length ? alike + " of " + pc.vms.length + " " + word : word;
  const kind = word === EMPTY ? "empty" : slug(word);
  const look = ATTENTION.includes(word) || pc.vms.some((vm) => vm.unlike) ? " attention" : word === "no answer" ? " unknown" : "";
  const button = make("button", { type: "button", class: "tile " + kind + look, "aria-haspopup": "dialog", title: pc.name,
    "aria-label": [pc.name || "without a PC", names, told].join(", "), click: () => open(room, pc) },
    make("span", { class: "pc" }, pc.short || "without a PC"),
    make("span", { class: "word" }, icon(kind), told),
    make("span", { class: "vm" }, pc.old ? age(now - pc.answered) + " old · " : "", names || " "));
  const item = make("li", {}, button);
  const reasons = pc.vms.flatMap((vm) => [vm.reason, ...vm.notes]);
  item.facts = { states: pc.vms.map((vm) => vm.state), text: [room.name, pc.name, names, ...reasons, ...pc.missing].join(" ").toLowerCase() };
  return item;
};
const rooms = () => {
  for (const room of data.rooms) {
    const inside = room.pcs.flatMap((pc) => pc.vms);
    const well = inside.filter((vm) => vm.state === "configured").length;
    const list = make("ul", { class: "tiles" }, ...room.pcs.map((pc) => tile({ room, pc })));
    const summary = make("small", {}, well + " of " + many(inside.length, "VM") + " configured");
    at("rooms").append(make("section", { class: "room" }, make("h2", {}, room.name || "No room", summary), list));
  }
};

/* The first boots, the slowest first. */
const PARTS = [["boot", "boot"], ["local", "firstboot, local"], ["services", "boot on"], ["join", "firstboot, join"], ["waits", "waits for its cluster"]];
const FEW = 25;
const boots = () => {
  const known = vms.filter(({ vm }) => vm.seen && vm.seen.boot && vm.seen.boot.spans.length)
    .map((each) => ({ ...each, spans: each.vm.seen.boot.spans, ended: each.vm.seen.boot.ended, total: each.vm.seen.boot.spans.at(-1)[2] }))
    .sort((a, b) => b.total - a.total);
  if (!known.length) return;
  at("boots").hidden = false;
  const ended = known.filter((each) => each.ended);
  const words = [many(known.length, "VM") + ", the slowest first; time since its start"];
  const longest = known[0].total;
  const median = ended.length ? ended[Math.floor(ended.length / 2)].total : longest;
  if (ended.length) words.push("median " + clock(median));
  if (vms.length > known.length) words.push(many(vms.length - known.length, "VM") + " without: not yet begun, or started again since");
  at("boots-summary").textContent = words.join("  ·  ");
  at("legend").append(...PARTS.map(([part, name]) => make("li", {}, make("i", { class: part }), name)));
  /* One that waits all night is not to make the others dots. */
  const scale = Math.min(longest, 4 * median) || 1;
  const step = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400].find((s) => scale / s <= 6) || scale / 5;
  const end = Math.max(step, Math.ceil(scale / step) * step);
  const axis = make("div");
  for (let tick = 0; tick <= end; tick += step) {
    const mark = make("span", {}, clock(tick));
    mark.style.left = (100 * tick) / end + "%";
    axis.append(mark);
  }
  at("axis").append(axis);
  const bar = ({ room, pc, vm, spans, ended, total }) => {
    const track = make("span", { class: "track" + (ended ? "" : " open") + (total > end ? " cut" : "") });
    for (const [part, from, to] of spans) {
      const piece = make("i", { class: part });
      piece.style.width = (100 * (to - from)) / end + "%";
      track.append(piece);
    }
    const told = spans.map(([part, from, to]) => PARTS.find(([name]) => name === part)[1] + " " + clock(to - from)).join(", ");
    return make("li", {}, make("button", { type: "button", class: "bar", title: told, click: () => open(room, pc),
      "aria-label": vm.name + ", " + clock(total) + (ended ? ": " : " so far: ") + told },
      make("span", { class: "who" }, vm.name), track, make("span", { class: "time" }, clock(total) + (ended ? "" : " …"))));
  };
  at("bars").append(...known.slice(0, FEW).map(bar));
  if (known.length > FEW) {
    at("more").hidden = false;
    at("more").textContent = "Show all " + known.length;
    at("more").addEventListener("click", () => {
      at("bars").append(...known.slice(FEW).map(bar));
      at("more").hidden = true;
    });
  }
};

/* The details of a PC. */
const fact = (name, value) => (value === null || value === undefined || value === "" ? [] : [make("div", {}, make("dt", {}, name), make("dd", {}, value))]);
const steps = (boot) => {
  const row = ([stage, step, result, seconds, uptime, detail]) => make("tr", { class: result },
    make("td", { class: "number" }, clock(uptime)), make("td", { class: "number" }, seconds.toFixed(1) + " s"),
    make("td", {}, step), make("td", {}, result), make("td", {}, detail));
  const head = [["at", "number"], ["took", "number"], ["step", ""], ["result", ""], ["", ""]];
  return make("table", {}, make("thead", {}, make("tr", {}, ...head.map(([name, kind]) => make("th", { scope: "col", class: kind }, name)))),
    make("tbody", {}, ...boot.steps.map(row)));
};
const details = (pc, vm) => {
  const section = make("section", {}, make("h3", {}, vm.name, make("span", { class: slug(vm.state) }, icon(vm.state), " " + vm.state)));
  if (vm.reason) section.append(make("p", { class: "reason " + slug(vm.state) }, make("span", {}, vm.reason)));
  for (const note of vm.notes) section.append(make("p", { class: "reason waiting" }, make("span", {}, note)));
  const seen = vm.seen;
  if (!seen) return section;
  const base = seen.base && seen.base + (seen.current === true ? " (the lab's)" : seen.current === false ? " (not the lab's)" : "");
  const sign = seen.sign && moment(seen.sign) + (pc.asked ? " (" + age(pc.asked - seen.sign) + " before it was asked)" : "");
  section.append(make("dl", { class: "facts" }, ...fact("QEMU", seen.qemu + (seen.pid ? ", process " + seen.pid : "")),
    ...fact("last sign of life", sign), ...fact("disk on the PC", seen.overlay === null ? "" : size(seen.overlay)),
    ...fact("logs", seen.logs === null ? "" : size(seen.logs)), ...fact("made on base", base),
    ...fact("starts with the PC", seen.service === "none" ? "no" : seen.service)));
  if (seen.boot) section.append(make("h4", {}, "The steps of its first boot; times since its start"), steps(seen.boot));
  else if (seen.boots) section.append(make("p", { class: "remark" }, "It was started again since its first boot, which this log no longer has."));
  if (seen.console.length) section.append(make("h4", {}, "The last lines of its console"), make("pre", { tabindex: "0" }, seen.console.join("\n")));
  return section;
};
const open = (room, pc) => {
  const title = at("details-title"), body = at("details-body");
  title.replaceChildren(pc.name || "Without a PC", make("small", {}, room.name));
  body.replaceChildren();
  const heard = pc.answered ? "Answered " + moment(pc.answered) + " (" + age(now - pc.answered) + " ago)" : pc.asked ? "Asked " + moment(pc.asked) + " without an answer; it has never answered" : "Nothing was ever heard of it";
  const asked = pc.answered && pc.asked > pc.answered ? "; asked again " + moment(pc.asked) + " without an answer" : "";
  const lines = [make("p", { class: "remark" }, heard + asked)];
  if (pc.missing.length) lines.push(make("p", { class: "reason failed" }, make("span", {}, "It lacks: " + pc.missing.join(", "))));
  if (!pc.vms.length) lines.push(make("p", {}, "The lab gives it no VM."));
  body.append(make("section", {}, ...lines), ...pc.vms.map((vm) => details(pc, vm)));
  at("details").showModal();
  body.scrollTop = 0;
  for (const console of body.querySelectorAll("pre")) console.scrollTop = console.scrollHeight;
};
at("close-details").addEventListener("click", () => at("details").close());
/* A click beside the dialog closes it; inside, something of it is hit. */
at("details").addEventListener("click", (event) => { if (event.target === at("details")) at("details").close(); });

about();
filters();
rooms();
boots();
})();
