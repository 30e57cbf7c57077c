// Filters and a quiz for the page of questions, which is whole without them. A card is asked, then shown, then judged:
// what was missed comes again at once, what was known tomorrow, in five days, in fifteen. Kept in this browser alone.
(() => {
  const KEY = "define-by-run-questions", REST = [0, 1, 5, 15], TODAY = Math.floor(Date.now() / 864e5);
  const all = [...document.querySelectorAll("section.question")];
  const page = all[0].parentElement.parentElement;
  const make = (tag, words = "", more = {}) => Object.assign(document.createElement(tag), { textContent: words }, more);
  const mark = (one, kind) => [...one.classList].find((name) => name.startsWith(kind)).slice(kind.length);
  const part = (one, kind) => one.querySelector(`details.${kind}`);

  let kept = {}, lasting = true, left = [], now, sure, known = 0;
  try { kept = JSON.parse(localStorage.getItem(KEY)) || {}; } catch { lasting = false; }
  const keep = () => { try { localStorage.setItem(KEY, JSON.stringify(kept)); } catch { lasting = false; } };
  const due = (one) => kept[one.id] && kept[one.id][1] <= TODAY;

  // The bar: what is shown, as in the address.
  const bar = make("form", "", { className: "quiz-bar" }), said = make("p"), panel = make("div", "", { className: "quiz-panel", tabIndex: -1 });
  said.setAttribute("role", "status");
  const choice = (kind, title) => {
    const set = make("fieldset"), asked = (new URLSearchParams(location.search).get(kind) || "").split(",");
    set.append(make("legend", title));
    for (const value of new Set(all.map((one) => mark(one, `${kind}-`)))) {
      const label = make("label"), words = all.find((one) => mark(one, `${kind}-`) === value).querySelector(".kind").textContent.split(" · ");
      label.append(make("input", "", { type: "checkbox", name: kind, value, checked: asked.includes(value) }), words[+(kind === "topic")]);
      set.append(label);
    }
    bar.append(set);
  };
  const chosen = (kind) => [...bar.querySelectorAll(`[name=${kind}]:checked`)].map((box) => box.value);
  const shown = () => all.filter((one) => !one.hidden);
  const address = () => {
    const query = new URLSearchParams(location.search);
    const values = { topic: chosen("topic").join(","), level: chosen("level").join(","), quiz: now ? "1" : "" };
    for (const [name, value] of Object.entries(values)) value ? query.set(name, value) : query.delete(name);
    history.replaceState(history.state, "", `${location.pathname}?${query}`.replace(/%2C/g, ",").replace(/\?$/, "") + location.hash);
  };
  const filter = () => {
    for (const one of all) one.hidden = ["topic", "level"].some((kind) => chosen(kind).length && !chosen(kind).includes(mark(one, `${kind}-`)));
    for (const group of page.querySelectorAll(":scope > section")) group.hidden = !group.querySelector(".question:not([hidden])");
    const again = shown().filter(due).length;
    said.textContent = `${shown().length} of ${all.length} questions` + (again ? `, ${again} due again` : "") + (lasting ? "" : ". This browser keeps nothing between visits: save your cards");
  };
  const button = (words, act, place = bar) => place.append(make("button", words, { type: "button", onclick: act }));

  // The quiz: one card at a time.
  const ask = (words, answers) => {
    panel.replaceChildren(make("p", words));
    answers.forEach(([name, act], i) => button(`${i + 1} ${name}`, act, panel));
    button("Esc Leave", leave, panel);
    panel.focus();
  };
  const judge = (grade) => {
    const box = grade ? grade < 2 ? 1 : sure ? Math.min((kept[now.id] || [0])[0] + 1, 3) : Math.max((kept[now.id] || [0])[0], 1) : 0;
    kept[now.id] = [box, TODAY + REST[box]];
    if (box) left.shift(), known += 1;
    else left.push(left.shift());
    delete kept.now;
    keep();
    next();
  };
  const reveal = (confident) => {
    sure = confident;
    kept.now = [now.id, sure];
    keep();
    now.classList.remove("asked");
    part(now, "breath").open = part(now, "wrong").open = true;
    const grades = [["I knew it", () => judge(2)], ["In part", () => judge(1)], ["No, or I believed the wrong one", () => judge(0)]];
    ask(sure ? "You were sure. Did you know it? If not: this is the kind of error that is worth the most." : "You were not sure. Did you know it?", grades);
  };
  const next = () => {
    if (now) now.classList.remove("now", "asked");
    [now] = left;
    if (!now) return leave(`All ${known} known at last; they come back tomorrow or later.`);
    now.classList.add("now", "asked");
    for (const fold of now.querySelectorAll("details")) fold.open = false;
    now.querySelector("h3").after(panel);
    ask(`${left.length} left. Say your answer aloud, in one breath. How sure are you?`, [["Sure", () => reveal(true)], ["Not sure", () => reveal(false)]]);
    now.scrollIntoView({ block: "nearest" });
  };
  const start = () => {
    const cards = shown();
    const first = cards.filter(due), fresh = cards.filter((one) => !kept[one.id]);
    left = first.length + fresh.length ? [...first.sort((a, b) => kept[a.id][1] - kept[b.id][1]), ...fresh] : cards;
    const [id, confident] = kept.now || [];
    left.sort((a, b) => (b.id === id) - (a.id === id));
    if (!left.length) return;
    page.classList.add("quizzing");
    known = 0;
    next();
    if (now && now.id === id) reveal(confident);
    address();
  };
  const leave = (words) => {
    if (now) now.classList.remove("now", "asked");
    now = undefined;
    page.classList.remove("quizzing");
    panel.remove();
    filter();
    address();
    if (typeof words === "string") said.textContent = `${words} ${said.textContent}.`;
    bar.querySelector("button").focus();
  };

  // The cards, with what is known of each, as Anki reads them.
  const save = () => {
    const clean = (node) => node.innerHTML.replace(/<summary>.*?<\/summary>/s, "").replace(/\s+/g, " ").trim();
    const rows = shown().map((one) => {
      const title = one.querySelector("h3").cloneNode(true), chinese = one.querySelector("[lang]");
      title.querySelector(".headerlink")?.remove();
      const front = title.textContent.replace(/^\d+ /, "") + (chinese ? `<br>${chinese.textContent}` : "");
      const tags = ["define-by-run", mark(one, "topic-"), kept[one.id] ? `box-${kept[one.id][0]}` : "new"];
      return [front, `${clean(part(one, "breath"))}<p>${part(one, "wrong").querySelector("summary").innerHTML}</p>`, tags.join(" ")].join("\t");
    });
    const text = ["#separator:tab", "#html:true", "#columns:Front\tBack\tTags", "#tags column:3", ...rows, ""].join("\n");
    const link = make("a", "", { href: URL.createObjectURL(new Blob([text])), download: "questions-for-anki.txt" });
    link.click();
    URL.revokeObjectURL(link.href);
  };

  bar.setAttribute("aria-label", "Filters and quiz");
  button("Quiz me", start);
  choice("topic", "Topics");
  choice("level", "Difficulty");
  button("Open all answers", (event) => {
    const open = event.target.textContent.startsWith("Open");
    for (const one of shown()) for (const fold of one.querySelectorAll("details")) fold.open = open;
    event.target.textContent = `${open ? "Close" : "Open"} all answers`;
  });
  button("Save these cards for Anki", save);
  button("Forget what I know", () => { kept = {}; keep(); filter(); });
  bar.append(said);
  bar.onchange = () => { filter(); address(); };
  page.querySelector(":scope > section").before(bar);
  page.addEventListener("keydown", (event) => {
    if (!now || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") leave();
    else if (/^[1-3]$/.test(event.key)) panel.querySelectorAll("button")[event.key - 1]?.click();
  });
  filter();
  if (new URLSearchParams(location.search).has("quiz")) start();
})();
