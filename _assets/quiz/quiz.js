// Filters and a quiz for the page of questions, which is whole without them. A card is asked, shown, then judged: what
// was missed comes again at once, what was known tomorrow, then in 5 and in 15 days. All is kept in this browser alone.
(() => {
  const KEY = "define-by-run-questions", REST_DAYS = [0, 1, 5, 15], TODAY = Math.floor(Date.now() / 864e5);
  const all = [...document.querySelectorAll("section.question")];
  const page = all[0].parentElement.parentElement;
  const make = (tag, words = "", more = {}) => Object.assign(document.createElement(tag), { textContent: words }, more);
  const button = (words, onclick, place) => place.append(make("button", words, { type: "button", onclick }));
  const mark = (one, kind) => [...one.classList].find((name) => name.startsWith(`${kind}-`)).slice(kind.length + 1);
  const fold = (one, kind) => one.querySelector(`details.${kind}`);

  let kept = {}, lasting = true, left = [], now, sure, known; // kept: of each card its box and the day it is due
  try { kept = JSON.parse(localStorage.getItem(KEY)) || {}; } catch { lasting = false; }
  const keep = () => { try { localStorage.setItem(KEY, JSON.stringify(kept)); } catch { lasting = false; } };
  const box = (one) => (kept[one.id] || [0])[0];
  const due = (one) => kept[one.id]?.[1] <= TODAY;

  // What is shown, as the address says.
  const bar = make("form", "", { className: "quiz-bar", ariaLabel: "Filters and quiz" });
  const status = make("p", "", { role: "status" }), panel = make("div", "", { className: "quiz-panel", tabIndex: -1 });
  const query = () => new URLSearchParams(location.search);
  const chosen = (kind) => [...bar.querySelectorAll(`[name=${kind}]:checked`)].map((input) => input.value);
  const shown = () => all.filter((one) => !one.hidden);

  function choices(kind, title, nth) {
    const set = make("fieldset"), asked = (query().get(kind) || "").split(",");
    set.append(make("legend", title));
    for (const value of new Set(all.map((one) => mark(one, kind)))) {
      const words = all.find((one) => mark(one, kind) === value).querySelector(".kind").textContent.split(" · ")[nth];
      const label = make("label");
      label.append(make("input", "", { type: "checkbox", name: kind, value, checked: asked.includes(value) }), words);
      set.append(label);
    }
    bar.append(set);
  }

  function filter(words = "") {
    const out = (one, kind) => chosen(kind).length && !chosen(kind).includes(mark(one, kind));
    for (const one of all) one.hidden = out(one, "topic") || out(one, "level");
    for (const group of page.querySelectorAll(":scope > section")) {
      group.hidden = !group.querySelector(".question:not([hidden])");
    }
    const again = shown().filter(due).length;
    status.textContent = `${words}${shown().length} of ${all.length} questions` + (again ? `, ${again} due again` : "")
      + (lasting ? "" : ". This browser keeps nothing between visits: save your cards");
    address();
  }

  function address() {
    const to = query(), values = { topic: chosen("topic").join(), level: chosen("level").join(), quiz: now ? 1 : "" };
    for (const [name, value] of Object.entries(values)) value ? to.set(name, value) : to.delete(name);
    const words = `${to}`.replaceAll("%2C", ",");
    history.replaceState(history.state, "", location.pathname + (words && `?${words}`) + location.hash);
  }

  // The quiz, one card at a time.
  function start() {
    const fresh = shown().filter((one) => !kept[one.id]), [id, confident] = kept.now || [];
    left = [...shown().filter(due).sort((a, b) => kept[a.id][1] - kept[b.id][1]), ...fresh];
    if (!left.length) left = shown();
    left.sort((a, b) => (b.id === id) - (a.id === id)); // the card of before a reload comes first
    if (!left.length) return;
    known = 0;
    page.classList.add("quizzing");
    next();
    if (now.id === id) reveal(confident);
    address();
  }

  function next() {
    now?.classList.remove("now", "asked");
    now = left[0];
    if (!now) return leave(`All ${known} known at last; they come back tomorrow or later. `);
    now.classList.add("now", "asked");
    for (const part of now.querySelectorAll("details")) part.open = false;
    now.querySelector("h3").after(panel);
    ask(`${left.length} left. Say your answer aloud, in one breath. How sure are you?`,
      ["Sure", () => reveal(true)], ["Not sure", () => reveal(false)]);
    now.scrollIntoView({ block: "nearest" });
  }

  function reveal(confident) {
    sure = confident;
    kept.now = [now.id, sure];
    keep();
    now.classList.remove("asked");
    fold(now, "breath").open = fold(now, "wrong").open = true;
    ask(`You were ${sure ? "sure" : "not sure"}. Did you know it?`, ["I knew it", () => judge(2)],
      ["In part", () => judge(1)], ["No, or I believed the wrong one", () => judge(0)]);
  }

  function judge(grade) {
    const grown = sure ? Math.min(box(now) + 1, REST_DAYS.length - 1) : Math.max(box(now), 1);
    const to = [0, 1, grown][grade];
    kept[now.id] = [to, TODAY + REST_DAYS[to]];
    delete kept.now;
    keep();
    left.shift();
    to ? known += 1 : left.push(now);
    next();
  }

  function leave(words) {
    now?.classList.remove("now", "asked");
    now = undefined;
    page.classList.remove("quizzing");
    panel.remove();
    filter(words);
    bar.querySelector("button").focus();
  }

  function ask(words, ...answers) {
    panel.replaceChildren(make("p", words));
    answers.forEach(([name, act], i) => button(`${i + 1} ${name}`, act, panel));
    button("Esc Leave", () => leave(), panel);
    panel.focus();
  }

  // The cards with what is known of each, as Anki reads them.
  function save() {
    const inner = (node) => node.innerHTML.replace(/<summary>.*?<\/summary>/s, "").replace(/\s+/g, " ").trim();
    const rows = shown().map((one) => {
      const title = one.querySelector("h3").cloneNode(true), chinese = one.querySelector("[lang]");
      title.querySelector(".headerlink")?.remove();
      const front = title.textContent.replace(/^\d+ /, "") + (chinese ? `<br>${chinese.textContent}` : "");
      const back = `${inner(fold(one, "breath"))}<p>${fold(one, "wrong").querySelector("summary").innerHTML}</p>`;
      return `${front}\t${back}\tdefine-by-run ${mark(one, "topic")} ${kept[one.id] ? `box-${box(one)}` : "new"}`;
    });
    const head = ["#separator:tab", "#html:true", "#columns:Front\tBack\tTags", "#tags column:3"];
    const href = URL.createObjectURL(new Blob([[...head, ...rows, ""].join("\n")]));
    make("a", "", { href, download: "questions-for-anki.txt" }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60000); // the browser may still be reading
  }

  button("Quiz me", start, bar);
  choices("topic", "Topics", 1);
  choices("level", "Difficulty", 0);
  button("Open or close all answers", () => {
    const folds = shown().flatMap((one) => [...one.querySelectorAll(":scope > details")]);
    const open = folds.some((part) => !part.open);
    for (const part of folds) part.open = open;
  }, bar);
  button("Save these cards for Anki", save, bar);
  button("Forget what I know", () => {
    if (confirm("Forget which cards you knew, and when they come back?")) { kept = {}; keep(); filter(); }
  }, bar);
  bar.append(status);
  bar.onchange = () => filter();
  page.querySelector(":scope > section").before(bar);
  page.addEventListener("keydown", (event) => {
    if (!now || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") leave();
    [...panel.querySelectorAll("button")].find((one) => one.textContent.split(" ")[0] === event.key)?.click();
  });
  const resume = query().has("quiz");
  filter();
  if (resume) start();
})();
