// The step player of a drawing: it only switches what is shown, the layout never changes. The page holds for it
//   .dbr-json    an entry for each position of the slider, the first before anything ran: t the sentence, c the cards
//                that are marked (the first comes into view), e the links that gradients go along, l the lines of code
//                that led there, innermost first, m the bytes kept alive, in words, b 1 in a backward step
//   data-f, -u   a text holds from step f on until step u begins; without u to the end
//   data-b       a card, link or cluster is there from step b on
//   data-c, -e, -l   the id of a card, a link (an edge), a line of code
//   data-s       on a line of code: the first step that it runs in
//   .dbr-inside-steps   beside a drawing of an inside (open.js): its own entries, with h the bytes kept alive, as a part
// The same run may stand on a page several times, and scripts may run before the page holds it: the players without
// data-ready are looked for, `tries` times.
(function find(id, tries) {
  const still = matchMedia("(prefers-reduced-motion)");
  const STEP_MS = 1800, FLIGHT_MS = 600, LAYS_CODE_BESIDE_PX = 620;

  function start(root) {
    root.dataset.ready = "1";
    const all = (query) => [...root.querySelectorAll(query)], one = (query) => root.querySelector(query);
    const byId = (key, within) =>
      Object.fromEntries([...within.querySelectorAll(`[data-${key}]`)].map((part) => [part.dataset[key], part]));
    const mark = (part, name, on) => part.classList.toggle("dbr-" + name, on);
    const set = (part, values) => { for (const name in values) part.setAttribute(name, values[name]); };

    const wholeRun = JSON.parse(one(".dbr-json").textContent), rows = [one(".dbr-ticks"), one(".dbr-mem")];
    const slider = one("input"), sentence = one(".dbr-now"), graph = one(".dbr-graph");
    const [previous, next, play] = ["prev", "next", "play"].map((act) => one(`[data-act=${act}]`));
    const lines = byId("l", root), rowsOfRun = rows.map((row) => row.innerHTML);
    let at = 0, timer = 0, flight = 0, steps, last, texts, born, marks, cards, links, inside;
    const left = {}; // by inside: the step at which it was left

    // Step what a view shows: the whole run, or the inside at a place in the list of open.js.
    function bind(view, place) {
      inside = place;
      steps = place === undefined ? wholeRun : JSON.parse(all("script.dbr-inside")[place].nextElementSibling.textContent);
      last = steps.length - 1;
      [texts, born] = ["f", "b"].map((key) => [...view.querySelectorAll(`[data-${key}]`)]);
      [cards, links] = ["c", "e"].map((key) => byId(key, view));
      if (place === undefined) rows.forEach((row, number) => { row.innerHTML = rowsOfRun[number]; });
      else {
        rows[0].innerHTML = steps.map(({ b }) => `<i${b ? " class=b" : ""}></i>`).join("");
        rows[1].innerHTML = steps.map(({ h }) => `<i style="--m:${h || 0}"></i>`).join("");
      }
      marks = all(".dbr-ticks i,.dbr-mem i");
      rows[0].parentNode.style.setProperty("--n", steps.length);
      slider.max = last;
    }

    // A dot for each gradient, from the head of its arrow to the tail.
    function fly(edges) {
      cancelAnimationFrame(flight);
      all(".dbr-dot").forEach((dot) => dot.remove());
      if (still.matches || !edges.length) return;
      const dots = edges.map((edge) => {
        const path = links[edge].querySelector("path");
        links[edge].insertAdjacentHTML("beforeend", "<circle r=5 class=dbr-dot />");
        return [path, links[edge].lastChild, path.getTotalLength()];
      });
      const began = performance.now();
      (function move(now) {
        const part = Math.min(1, Math.max(0, now - began) / FLIGHT_MS);
        for (const [path, dot, length] of dots) {
          const place = path.getPointAtLength(length * (1 - part));
          set(dot, { cx: place.x, cy: place.y });
          if (part === 1) dot.remove();
        }
        if (part < 1) flight = requestAnimationFrame(move);
      })(began);
    }

    function bringIntoView(card) {
      const [a, b] = [card, graph].map((part) => part.getBoundingClientRect());
      if (a.top >= b.top && a.bottom <= b.bottom && a.left >= b.left && a.right <= b.right) return;
      const left = (a.left + a.right - b.left - b.right) / 2, top = (a.top + a.bottom - b.top - b.bottom) / 2;
      graph.scrollBy({ left, top, behavior: still.matches ? "auto" : "smooth" });
    }

    // Show a step; `quietly`, nothing moves.
    function go(to, quietly) {
      at = Math.max(0, Math.min(last, to));
      const step = steps[at];
      if (inside === undefined) root.dataset.step = at;
      mark(root, "back", step.b > 0);
      for (const text of texts) {
        const { f, u } = text.dataset;
        set(text, { display: at >= +f && at < +(u || 1e9) ? "inline" : "none" });
      }
      for (const part of born) mark(part, "todo", at < +part.dataset.b);
      for (const id in cards) mark(cards[id], "at", step.c.includes(id));
      for (const id in links) mark(links[id], "flow", step.e.includes(id));
      for (const id in lines) {
        mark(lines[id], "here", step.l[0] === id);
        mark(lines[id], "via", step.l.indexOf(id) > 0);
      }
      marks.forEach((tick, place) => mark(tick, "on", place % steps.length === at));
      slider.value = at;
      set(slider, { "aria-valuetext": `step ${at} of ${last}` });
      const [head, ...rest] = step.t.split(". ");
      const bold = Object.assign(document.createElement("b"), { textContent: head + ". " });
      sentence.replaceChildren(bold, rest.join(". "));
      set(previous, { "aria-disabled": at === 0 });
      set(next, { "aria-disabled": at === last });
      one(".dbr-kept").textContent = step.m;
      fly(quietly ? [] : step.e);
      if (!quietly && step.c.length) bringIntoView(cards[step.c[0]]);
    }

    function showPlaying(d, name, live) {
      set(play.querySelector("path"), { d });
      set(play, { "aria-label": name });
      set(sentence, { "aria-live": live });
    }
    function pause() {
      clearInterval(timer);
      timer = 0;
      showPlaying("M3 2l5 6-5 6zm6 0l5 6-5 6z", "Play", "polite");
    }
    function run() {
      if (timer) return pause();
      if (at === last) go(0);
      showPlaying("M3 2h4v12H3zm6 0h4v12H9z", "Pause", "off");
      timer = setInterval(() => (at < last && root.isConnected ? go(at + 1) : pause()), STEP_MS);
    }
    function jump(to) {
      pause();
      go(to);
    }

    const acts = {
      prev: () => jump(at - 1),
      next: () => jump(at + 1),
      play: run,
      full: () => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen?.()),
    };
    root.addEventListener("click", ({ target }) => {
      const [act, card, line] = ["[data-act]", "[data-c]", "li[data-s]"].map((query) => target.closest(query));
      if (act) { if (act.getAttribute("aria-disabled") !== "true") acts[act.dataset.act](); }
      else if (line) {
        const its = steps.findIndex(({ l }) => l.includes(line.dataset.l));
        if (inside === undefined || its > 0) jump(inside === undefined ? +line.dataset.s : its);
      }
      else if (card) { // its next step after this one, else its first
        const its = steps.flatMap(({ c }, place) => (c.includes(card.dataset.c) ? place : []));
        jump(its.find((place) => place > at) ?? its[0] ?? +card.dataset.b);
      }
    });
    slider.addEventListener("input", () => jump(+slider.value));
    graph.addEventListener("dbr-show", ({ detail }) => {
      const ended = at === last;
      pause();
      left[inside] = at;
      bind(detail.view, detail.at);
      go(left[detail.at] ?? (ended ? last : 0), true);
    });

    const ways = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -1e9, End: 1e9 };
    root.addEventListener("keydown", (event) => {
      const tenth = Math.max(1, Math.round(last / 10)), sliderWays = { ...ways, PageDown: tenth, PageUp: -tenth };
      const { key, target } = event, way = (target === slider ? sliderWays : ways)[key];
      if (!way || event.altKey || event.ctrlKey || event.metaKey) return;
      event.stopPropagation(); // a notebook would move to its next cell
      const pane = key.match(/Up|Down/) && target.closest("pre,.dbr-graph");
      if (pane && pane.scrollHeight > pane.clientHeight) return; // it scrolls by these keys
      event.preventDefault();
      jump(at + way);
    });

    if (root.clientWidth && root.clientWidth < LAYS_CODE_BESIDE_PX) one(".dbr-code")?.removeAttribute("open");
    one(".dbr-bar").hidden = false;
    bind(one(".dbr-in"));
    go(0, true);
    if (root.closest(".dbr-autoplay") && !still.matches && !location.hash) {
      const onceSeen = ([entry], observer) => {
        if (!entry.isIntersecting) return;
        observer.disconnect();
        setTimeout(() => at || timer || run(), 900);
      };
      new IntersectionObserver(onceSeen, { threshold: 0.6 }).observe(root);
    }
  }

  const found = document.querySelectorAll(`.dbr-player[data-dbr="${id}"]:not([data-ready])`);
  found.forEach(start);
  if (!found.length && tries) setTimeout(find, 100, id, tries - 1);
})
