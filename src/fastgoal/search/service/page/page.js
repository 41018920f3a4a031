// The search page: what is asked stands in the address (#text=...&skip=24), the answer in the grid, one result in a
// dialog. Nothing is fetched but this server's own API; texts only ever become text nodes.
"use strict";

const PAGE = 24;
const TOKEN = "fastgoal-token";
const THEME = "fastgoal-theme";
const HUES = 8;
const FILTERS = ["min_width", "max_width", "min_height", "max_height", "caption_contains", "id_contains"];
const LEVELS = 5;
const HEAT = [[20, 11, 53], [101, 21, 110], [188, 55, 84], [249, 142, 8], [252, 255, 164]];

const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const count = (n, one) => `${number.format(n)} ${one}${n === 1 ? "" : "s"}`;
const cosine = (value) => value.toFixed(3).replace("-", "\u2212");
const ms = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

function made(tag, name = "", ...inside) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.append(...inside);
  return element;
}

// ---- Asking the server

class Problem extends Error {
  constructor(what, mend = "") {
    super(what);
    this.mend = mend;
  }
}

async function api(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = new Headers(options.headers);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("the server does not answer", "See whether it is still running, then try again.");
  }
  if (response.status === 401) {
    if (sessionStorage.getItem(TOKEN) === token) await askForToken(token !== null);
    return api(path, options);
  }
  if (!response.ok) {
    const said = await response.json().catch(() => ({}));
    throw new Problem(said.error ?? `the server answered with ${response.status}`, said.mend ?? "");
  }
  return response;
}

const post = (path, body, signal) =>
  api(path, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" }, signal });

let door = null; // the one dialog that all requests without a valid token wait for

function askForToken(wrong) {
  door ??= new Promise((resolve) => {
    $("door-problem").textContent = wrong ? "The server does not know this token." : "";
    $("token").value = "";
    $("door").showModal();
    $("door-form").onsubmit = () => {
      sessionStorage.setItem(TOKEN, $("token").value.trim());
      door = null;
      resolve();
    };
  });
  return door;
}

const imageUrl = (id, size) => `/api/image?${new URLSearchParams({ id, size })}`;

// An <img> cannot send a token, so with one the image is fetched by hand.
async function show(image, id, size) {
  const url = imageUrl(id, size);
  image.onload = () => image.classList.remove("coming");
  image.onerror = () => image.classList.add("gone");
  image.classList.add("coming");
  image.classList.remove("gone");
  image.dataset.id = id;
  if (!sessionStorage.getItem(TOKEN)) {
    image.src = url;
    return;
  }
  try {
    const blob = await (await api(url)).blob();
    if (image.dataset.id !== id) return; // another one is wanted by now
    const local = URL.createObjectURL(blob);
    image.addEventListener("load", () => URL.revokeObjectURL(local), { once: true });
    image.src = local;
  } catch {
    image.classList.add("gone");
  }
}

// ---- What is asked: the address

let facts = null;
let file = null; // an image of the user's own; it cannot stand in an address
let answer = null;
let running = null;

function asked() {
  const words = new URLSearchParams(location.hash.slice(1));
  const filters = {};
  for (const name of FILTERS) {
    const value = words.get(name);
    if (value) filters[name] = /_(width|height)$/.test(name) ? Number(value) : value;
  }
  const kind = words.get("text") ? "text" : words.get("like") ? "like" : words.get("image") && file ? "image" : null;
  return { kind, text: words.get("text"), like: words.get("like"), skip: Number(words.get("skip")) || 0, filters };
}

function go(changes) {
  const words = new URLSearchParams(location.hash.slice(1));
  if (!("skip" in changes)) words.delete("skip");
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "" || value === 0) words.delete(name);
    else words.set(name, value);
  }
  const hash = `#${words}`;
  if (hash === (location.hash || "#")) search();
  else location.hash = hash;
}

const askText = (text) => go({ text, like: null, image: null });
const askLike = (like) => go({ text: null, like, image: null });

function askImage(chosen) {
  if (!chosen) return;
  if (facts && chosen.size > facts.limits.upload_bytes) {
    const most = `${Math.floor(facts.limits.upload_bytes / 2 ** 20)} MiB`;
    fail(new Problem(`the file is larger than ${most}`, "Choose a smaller one, or scale it down."));
    return;
  }
  file = chosen;
  go({ text: null, like: null, image: Date.now() });
}

async function request({ kind, text, like, skip, filters }, signal) {
  if (kind === "text") return post("/api/search", { text, top: PAGE, skip, filters }, signal);
  const page = new URLSearchParams({ top: PAGE, skip, ...filters });
  if (kind === "like") {
    page.set("id", like);
    return api(`/api/like?${page}`, { signal });
  }
  const body = new FormData();
  body.append("picture", file);
  return api(`/api/search/image?${page}`, { method: "POST", body, signal });
}

async function search() {
  const question = asked();
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  $("view").close();
  showQuestion(question);
  if (!question.kind) return welcome();
  clear();
  $("busy").hidden = false;
  $("grid").setAttribute("aria-busy", "true");
  $("status").textContent = "Searching\u2026";
  try {
    answer = await (await request(question, signal)).json();
    explained.clear();
    showAnswer(question);
  } catch (error) {
    if (error.name !== "AbortError") fail(error);
  } finally {
    if (!signal.aborted) {
      $("busy").hidden = true;
      $("grid").removeAttribute("aria-busy");
    }
  }
}

// ---- The question as it is shown

function showQuestion({ kind, text, like, filters }) {
  const own = kind === "image";
  $("picked").hidden = !(own || kind === "like");
  $("text").hidden = !$("picked").hidden;
  if (kind === "text" || document.activeElement !== $("text")) $("text").value = text ?? "";
  if (own) {
    $("picked-image").className = "";
    $("picked-image").src = URL.createObjectURL(file);
    $("picked-image").onload = () => URL.revokeObjectURL($("picked-image").src);
    $("picked-name").textContent = `Images like ${file.name || "the one you gave"}`;
  } else if (kind === "like") {
    show($("picked-image"), like, "thumb");
    $("picked-name").textContent = `Images like ${like}`;
  }
  grow();
  for (const name of FILTERS) $("filters").elements[name].value = filters[name] ?? "";
  const set = Object.keys(filters).length;
  $("filter-count").textContent = set ? String(set) : "";
  document.title = text ? `${text.slice(0, 60)} \u2013 fastgoal search` : "fastgoal search";
}

function grow() {
  const box = $("text");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}

// ---- The answer as it is shown

function clear() {
  for (const id of ["problem", "welcome", "nothing", "pages"]) $(id).hidden = true;
  $("timing").textContent = "";
}

function fail(error) {
  clear();
  $("grid").replaceChildren();
  $("busy").hidden = true;
  $("status").textContent = "";
  $("problem-what").textContent = error.message;
  $("problem-mend").textContent = error.mend ?? "Load this page again.";
  $("problem").hidden = false;
}

async function welcome() {
  clear();
  answer = null;
  $("grid").replaceChildren();
  $("busy").hidden = true;
  $("status").textContent = "";
  if (!facts) return;
  $("welcome-what").textContent = facts.images
    ? `${count(facts.images, "image")} can be searched here`
    : "This index holds no image yet";
  const captions = facts.examples.filter((one) => one.caption).slice(0, 3);
  $("welcome-try").hidden = !captions.length;
  $("tries").replaceChildren(...captions.map(({ caption }) => {
    const text = shortened(caption, 220);
    const button = made("button", "", text);
    button.type = "button";
    button.onclick = () => askText(text);
    return made("li", "", button);
  }));
  $("welcome-images").hidden = !facts.examples.length;
  $("strip").replaceChildren(...facts.examples.map(({ id }) => {
    const image = made("img");
    image.alt = `Images like ${id}`;
    show(image, id, "thumb");
    const button = made("button", "", image);
    button.type = "button";
    button.onclick = () => askLike(id);
    return made("li", "", button);
  }));
  $("welcome").hidden = false;
}

// The first whole sentences of a text, or what fits of it.
function shortened(text, most) {
  if (text.length <= most) return text;
  const end = text.lastIndexOf(". ", most);
  return end > 0 ? text.slice(0, end + 1) : text.slice(0, text.lastIndexOf(" ", most));
}

function showAnswer({ skip }) {
  const { hits, matching, passages, exact } = answer;
  $("grid").replaceChildren(...hits.map((hit, index) => made("li", "", card(hit, index, skip))));
  rove($("grid").querySelector("button"));
  $("nothing").hidden = hits.length > 0 || skip > 0;
  const range = hits.length ? `${number.format(skip + 1)}\u2013${number.format(skip + hits.length)}` : "None";
  const read = passages.length ? `; the text was read in ${passages.length} parts` : "";
  $("status").textContent = `${range} of ${count(matching, "image")}, best first${exact ? "" : ", nearly exact"}${read}`;
  showTiming();
  $("pages").hidden = matching <= PAGE;
  $("before").disabled = skip === 0;
  $("after").disabled = skip + PAGE >= matching || skip + PAGE > facts.limits.skip;
  $("where").textContent = `Page ${number.format(skip / PAGE + 1)} of ${number.format(Math.ceil(matching / PAGE))}`;
}

function showTiming() {
  const { encode_ms, search_ms, latency } = answer;
  $("timing").textContent = `model ${ms(encode_ms)}, search ${ms(search_ms)} \u00b7 p50 ${ms(latency.p50)}, p95 ${ms(latency.p95)}`;
  $("timing").title = `p50 and p95: half and 95 % of the last ${count(latency.count, "such search").replace("searchs", "searches")} took no longer, waiting included`;
}

function card(hit, index, skip) {
  const image = made("img");
  image.alt = "";
  image.loading = "lazy";
  image.width = image.height = 200;
  show(image, hit.id, "thumb");
  const lost = made("span", "lost", "This image cannot be read");
  const picture = made("span", "picture", image, lost);
  const rank = made("span", "unseen", `Result ${skip + index + 1}: `);
  const line = made("span", "line", rank, made("span", "name", hit.id), made("span", "unseen", ", score "), made("span", "num", cosine(hit.score)));
  const button = made("button", "card", picture, line);
  if (hit.sentences.length > 1) {
    const bars = hit.sentences.map((_, s) => bar("i", level(index, s)));
    const meets = made("span", "meets", ...bars);
    meets.title = "How well each sentence is met, beside the other results on this page";
    button.append(meets);
  }
  button.type = "button";
  button.onclick = () => open(index);
  return button;
}

function bar(tag, share) {
  const fill = made("b");
  fill.style.width = `${Math.round(100 * share)}%`;
  return made(tag, `${tag === "i" ? "" : "meter "}${hueOf(share)}`, fill);
}

const hueOf = (share) => `l${Math.min(LEVELS - 1, Math.floor(share * LEVELS))}`;

// How well result `index` meets sentence `s`, as the share of the other results shown that meet it less well. Ranks, as
// cosines of different sentences have different scales and one odd result would stretch any scale of their own.
function level(index, s) {
  const scores = answer.hits.map((hit) => hit.sentences[s].score);
  const others = scores.length - 1;
  if (!others) return 1;
  const less = scores.filter((score) => score < scores[index]).length;
  const same = scores.filter((score) => score === scores[index]).length - 1;
  return (less + same / 2) / others;
}

// ---- Moving in the grid by keys: one card at a time is reached by Tab

function rove(card) {
  for (const each of $("grid").querySelectorAll("button")) each.tabIndex = each === card ? 0 : -1;
}

function moveInGrid(event) {
  const cards = [...$("grid").querySelectorAll("button")];
  const at = cards.indexOf(document.activeElement);
  if (at < 0) return;
  const columns = cards.filter((card) => card.offsetTop === cards[0].offsetTop).length;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -at, End: cards.length - 1 - at }[event.key];
  const next = cards[at + (step ?? 0)];
  if (step === undefined) return;
  event.preventDefault();
  if (event.key === "ArrowUp" && !next) $("text").focus();
  next?.focus();
}

// ---- One result

const explained = new Map(); // of the results of this answer
const view = { index: 0, text: null, sentences: [], explanation: null, pinned: null, near: null, heat: false, boxes: true };

function open(index) {
  const hit = answer.hits[index];
  Object.assign(view, { index, text: answer.query, sentences: hit.sentences, explanation: null, pinned: null, near: null });
  $("view-name").textContent = hit.id;
  $("view-facts").textContent = `score ${cosine(hit.score)} \u00b7 ${hit.width} \u00d7 ${hit.height}`;
  $("view-image").alt = hit.id;
  $("stage").style.setProperty("--ratio", hit.width / hit.height);
  show($("view-image"), hit.id, "full");
  $("earlier").disabled = index === 0;
  $("later").disabled = index === answer.hits.length - 1;
  $("view-problem").textContent = "";
  $("caption-room").hidden = true;
  showSentences();
  const fresh = !$("view").open;
  if (fresh) $("view").showModal();
  $("panel").scrollTop = 0;
  if (fresh) $("close").focus();
  explain(hit.id);
}

async function explain(id) {
  const { index } = view;
  const wanted = () => $("view").open && view.index === index && answer?.hits[index]?.id === id;
  await new Promise((resolve) => setTimeout(resolve, explained.has(id) ? 0 : 150)); // who steps on asks for nothing
  if (!wanted()) return;
  try {
    if (!explained.has(id)) explained.set(id, await (await post("/api/explain", { id, text: answer.query })).json());
  } catch (error) {
    if (wanted()) $("view-problem").textContent = `No heat maps: ${error.message}. ${error.mend ?? ""}`;
    return;
  }
  if (!wanted()) return;
  const explanation = explained.get(id);
  Object.assign(view, { explanation, text: explanation.text, sentences: explanation.sentences });
  $("caption-room").hidden = !explanation.caption || answer.query === null;
  $("caption").textContent = explanation.caption ?? "";
  showSentences();
}

function showSentences() {
  const compared = answer.query !== null;
  const points = Array.from(view.text ?? ""); // spans count code points
  const focused = document.activeElement?.dataset?.sentence;
  $("sentences").replaceChildren(...view.sentences.map((one, s) => made("li", "", sentence(one, s, points, compared))));
  if (focused !== undefined) $("sentences").querySelector(`[data-sentence="${focused}"]`)?.focus();
  $("sentences-title").textContent = compared ? "How well each sentence is met" : view.sentences.length ? "Its caption, sentence by sentence" : "";
  const shown = answer.hits.length;
  $("legend").textContent = !view.sentences.length
    ? (view.explanation ? "This image has no caption in the index, so there is nothing to explain." : "")
    : "Numbers are cosines with the best region; those of different sentences cannot be compared." +
      (compared && shown > 1 ? ` Bar and colour say how an image meets a sentence beside the other ${shown - 1} results on this page: full and green, better than all of them; empty and red, worse.` : "");
  draw();
}

function sentence(one, s, points, compared) {
  const words = points.slice(one.span[0], one.span[1]).join("");
  const button = made("button", "sentence", tag(String(s + 1), s), made("span", "words", words), made("span", "num", cosine(one.score)));
  const remarks = [];
  if (compared && answer.hits.length > 1) {
    const share = level(view.index, s);
    button.append(bar("span", share));
    button.classList.add(hueOf(share));
    remarks.push(`better than in ${Math.round(100 * share)} % of the others`);
  }
  if (!one.box) remarks.push("by the whole image");
  if (one.visible === false) remarks.push("beyond the model\u2019s text limit");
  if (remarks.length) button.append(made("small", "", remarks.join(" \u00b7 ")));
  button.type = "button";
  button.dataset.sentence = s;
  button.setAttribute("aria-pressed", String(view.pinned === s));
  button.onmouseenter = button.onfocus = () => { view.near = s; draw(); };
  button.onmouseleave = button.onblur = () => { view.near = null; draw(); };
  button.onclick = () => { view.pinned = view.pinned === s ? null : s; draw(); };
  return button;
}

const tag = (text, s) => made("span", `tag h${s % HUES}`, text);

function draw() {
  const active = view.near ?? view.pinned ?? (view.heat && view.sentences.length ? 0 : null);
  for (const button of $("sentences").querySelectorAll("button")) {
    const s = Number(button.dataset.sentence);
    button.classList.toggle("on", s === active);
    button.setAttribute("aria-pressed", String(s === view.pinned));
  }
  drawBoxes(active);
  drawHeat(active);
}

function drawBoxes(active) {
  const { width, height } = answer.hits[view.index];
  const whole = [0, 0, width, height];
  const groups = new Map(); // sentences that share their best region share its outline
  view.sentences.forEach((one, s) => {
    if (active !== null && s !== active) return;
    const box = one.box ?? (active === s ? whole : null);
    if (box) groups.set(String(box), [...(groups.get(String(box)) ?? []), s]);
  });
  $("boxes").replaceChildren(...(view.boxes ? [...groups].map(([key, members]) => {
    const [x1, y1, x2, y2] = key.split(",").map(Number);
    const outline = made("div", `box h${members[0] % HUES}`, tag(members.map((s) => s + 1).join(", "), members[0]));
    outline.style.left = `${(100 * x1) / width}%`;
    outline.style.top = `${(100 * y1) / height}%`;
    outline.style.width = `${(100 * (x2 - x1)) / width}%`;
    outline.style.height = `${(100 * (y2 - y1)) / height}%`;
    return outline;
  }) : []));
}

function drawHeat(active) {
  const { explanation } = view;
  const none = explanation !== null && explanation.sentences.length > 0 && explanation.sentences.every((one) => !one.heat);
  $("heat-switch").disabled = none;
  if (none) $("view-problem").textContent = "No heat maps: this model does not place its patches among its texts.";
  $("heat-switch").setAttribute("aria-pressed", String(view.heat && !none));
  const heat = view.heat && active !== null ? explanation?.sentences[active]?.heat : null;
  $("heat").hidden = $("heat-legend").hidden = !heat;
  if (!heat) return;
  const values = heat.flat();
  const low = Math.min(...values);
  const high = Math.max(...values);
  const canvas = $("heat");
  const scale = 900 / Math.max(explanation.width, explanation.height);
  canvas.width = Math.round(explanation.width * scale);
  canvas.height = Math.round(explanation.height * scale);
  const [x1, y1, x2, y2] = explanation.view.map((value) => value * scale);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(painted(heat, low, high), x1, y1, x2 - x1, y2 - y1);
  const steps = Array.from({ length: 64 }, (_, i) => i / 63);
  $("heat-scale").getContext("2d").drawImage(painted([steps], 0, 1), 0, 0, $("heat-scale").width, $("heat-scale").height);
  $("heat-low").textContent = cosine(low);
  $("heat-high").textContent = cosine(high);
  $("heat-of").textContent = String(active + 1);
}

// A grid of numbers as a picture of one pixel each.
function painted(rows, low, high) {
  const picture = document.createElement("canvas");
  picture.width = rows[0].length;
  picture.height = rows.length;
  const context = picture.getContext("2d");
  const pixels = context.createImageData(picture.width, picture.height);
  rows.flat().forEach((value, i) => {
    pixels.data.set(colour((value - low) / (high - low || 1)), 4 * i);
  });
  context.putImageData(pixels, 0, 0);
  return picture;
}

// Red, green, blue and opacity: the image stays to be seen where little is met, and peaks stand out.
function colour(share) {
  const at = share ** 1.5 * (HEAT.length - 1);
  const from = Math.min(Math.floor(at), HEAT.length - 2);
  const mixed = HEAT[from].map((value, c) => Math.round(value + (HEAT[from + 1][c] - value) * (at - from)));
  return [...mixed, Math.round(255 * (0.45 + 0.35 * share))];
}

function step(by) {
  const next = view.index + by;
  if (answer.hits[next]) open(next);
}

function keysInView(event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const sentences = [...$("sentences").querySelectorAll("button")];
  const at = sentences.indexOf(document.activeElement);
  const done = {
    ArrowLeft: () => step(-1),
    ArrowRight: () => step(1),
    ArrowDown: () => sentences[Math.min(at + 1, sentences.length - 1)]?.focus(),
    ArrowUp: () => sentences[Math.max(at - 1, 0)]?.focus(),
    h: () => $("heat-switch").click(),
    r: () => $("box-switch").click(),
  }[event.key];
  if (!done) return;
  event.preventDefault();
  done();
}

// ---- Light and dark

function showTheme() {
  const theme = localStorage.getItem(THEME) ?? "auto";
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  $("theme").textContent = `Theme: ${theme}`;
}

function nextTheme() {
  const order = ["auto", "light", "dark"];
  const now = localStorage.getItem(THEME) ?? "auto";
  localStorage.setItem(THEME, order[(order.indexOf(now) + 1) % order.length]);
  showTheme();
}

// ---- What the user does

function listenToForm() {
  $("ask").onsubmit = (event) => {
    event.preventDefault();
    const text = $("text").value.trim();
    if (!$("picked").hidden) search();
    else if (text) askText(text);
    else $("text").focus();
  };
  $("text").oninput = grow;
  $("text").onkeydown = (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    $("ask").requestSubmit();
  };
  $("pick").onclick = () => $("file").click();
  $("file").onchange = () => { askImage($("file").files[0]); $("file").value = ""; };
  $("unpick").onclick = () => { file = null; go({ text: null, like: null, image: null }); $("text").focus(); };
  $("again").onclick = () => (facts ? search() : start());
}

function listenToFilters() {
  $("filter-switch").onclick = () => {
    const shown = $("filters").hidden;
    $("filters").hidden = !shown;
    $("filter-switch").setAttribute("aria-expanded", String(shown));
    if (shown) $("filters").elements[0].focus();
  };
  const apply = () => go(Object.fromEntries(FILTERS.map((name) => [name, $("filters").elements[name].value.trim()])));
  const none = () => go(Object.fromEntries(FILTERS.map((name) => [name, null])));
  $("filters").onsubmit = (event) => { event.preventDefault(); apply(); };
  $("filters").onreset = (event) => { event.preventDefault(); none(); };
  $("unfilter").onclick = none;
  const turn = (by) => { go({ skip: Math.max(0, asked().skip + by) }); scrollTo({ top: 0 }); };
  $("before").onclick = () => turn(-PAGE);
  $("after").onclick = () => turn(PAGE);
}

function listenToView() {
  $("earlier").onclick = () => step(-1);
  $("later").onclick = () => step(1);
  $("close").onclick = () => $("view").close();
  $("heat-switch").onclick = () => { view.heat = !view.heat; draw(); };
  $("box-switch").onclick = () => {
    view.boxes = !view.boxes;
    $("box-switch").setAttribute("aria-pressed", String(view.boxes));
    draw();
  };
  $("like").onclick = () => askLike(answer.hits[view.index].id);
  $("view").onkeydown = keysInView;
  $("view").onclick = (event) => { if (event.target === $("view")) $("view").close(); }; // beside it
  $("view").onclose = () => {
    const card = $("grid").querySelectorAll("button")[view.index];
    if (card) { rove(card); card.focus(); }
  };
  $("door").oncancel = (event) => event.preventDefault(); // without a token there is nothing to go back to
}

function listenToPage() {
  addEventListener("hashchange", search);
  $("theme").onclick = nextTheme;
  $("grid").onkeydown = moveInGrid;
  $("grid").addEventListener("focusin", (event) => rove(event.target));
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
    if (/^(INPUT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "")) return;
    event.preventDefault();
    $("text").focus();
    $("text").select();
  });
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragover", (event) => { if (carries(event)) { event.preventDefault(); $("drop").hidden = false; } });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").hidden = true; });
  addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    $("drop").hidden = true;
    askImage(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const image = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (image) { event.preventDefault(); askImage(image); }
  });
}

async function start() {
  $("problem").hidden = true;
  try {
    facts = await (await api("/api/facts")).json();
  } catch (error) {
    fail(error);
    return;
  }
  const regions = facts.regions ? `, ${count(facts.regions, "region")}` : "";
  $("index").textContent = `${facts.name}: ${count(facts.images, "image")}${regions}, model ${facts.model}`;
  $("speed").textContent = facts.complete ? "" : "The last indexing of these images did not come to its end.";
  $("text").maxLength = facts.limits.text;
  search();
}

showTheme();
listenToForm();
listenToFilters();
listenToView();
listenToPage();
start();
