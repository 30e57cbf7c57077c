(function (id, tries) {
  const still = matchMedia("(prefers-reduced-motion)");
  function start(root) {
    root.dataset.ready = "1";
    const all = (q) => [...root.querySelectorAll(q)], one = (q) => root.querySelector(q);
    const steps = JSON.parse(one(".dbr-json").textContent), last = steps.length - 1;
    const range = one("input"), now = one(".dbr-now"), box = one(".dbr-graph"), play = one("[data-act=play]");
    const timed = all("[data-f]"), born = all("[data-b]"), marks = all(".dbr-ticks i,.dbr-mem i");
    const by = (key) => Object.fromEntries(all("[data-" + key + "]").map((e) => [e.dataset[key], e]));
    const cards = by("c"), links = by("e"), lines = by("l");
    const mark = (e, name, on) => e.classList.toggle("dbr-" + name, on);
    const set = (e, values) => { for (const name in values) e.setAttribute(name, values[name]); };
    let at = 0, timer = 0, flight = 0;
    function dots(edges) {
      cancelAnimationFrame(flight);
      all(".dbr-dot").forEach((d) => d.remove());
      if (still.matches || !edges.length) return;
      const run = edges.map((e) => {
        const path = links[e].querySelector("path");
        links[e].insertAdjacentHTML("beforeend", "<circle r=5 class=dbr-dot />");
        return [path, links[e].lastChild, path.getTotalLength()];
      });
      let t0;
      (function fly(t) {
        t0 = t0 || t;
        const part = Math.min(1, (t - t0) / 600);
        for (const [path, dot, length] of run) {
          const p = path.getPointAtLength(length * (1 - part));
          set(dot, { cx: p.x, cy: p.y });
          if (part === 1) dot.remove();
        }
        if (part < 1) flight = requestAnimationFrame(fly);
      })(performance.now());
    }
    function follow(card) {
      const [a, b] = [card, box].map((e) => e.getBoundingClientRect());
      if (a.top >= b.top && a.bottom <= b.bottom && a.left >= b.left && a.right <= b.right) return;
      const left = (a.left + a.right - b.left - b.right) / 2, top = (a.top + a.bottom - b.top - b.bottom) / 2;
      box.scrollBy({ left, top, behavior: still.matches ? "auto" : "smooth" });
    }
    function go(to, quiet) {
      at = Math.max(0, Math.min(last, to));
      const s = steps[at];
      root.dataset.step = at;
      mark(root, "back", s.b > 0);
      for (const t of timed) mark(t, "off", at < +t.dataset.f || at >= +(t.dataset.u || 1e9));
      for (const t of born) mark(t, "todo", at < +t.dataset.b);
      for (const c in cards) mark(cards[c], "at", s.c.includes(c));
      for (const e in links) mark(links[e], "flow", s.e.includes(e));
      for (const l in lines) {
        mark(lines[l], "here", s.l[0] === l);
        mark(lines[l], "via", s.l.indexOf(l) > 0);
      }
      marks.forEach((t, i) => mark(t, "on", i % steps.length === at));
      range.value = at;
      set(range, { "aria-valuetext": "step " + at + " of " + last });
      const [head, ...rest] = s.t.split(". ");
      now.replaceChildren(Object.assign(document.createElement("b"), { textContent: head + ". " }), rest.join(". "));
      one("[data-act=prev]").disabled = at === 0;
      one("[data-act=next]").disabled = at === last;
      one(".dbr-kept").textContent = s.m;
      dots(quiet ? [] : s.e);
      if (!quiet && s.c.length) follow(cards[s.c[0]]);
    }
    function show(d, name, live) {
      set(play.querySelector("path"), { d });
      set(play, { "aria-label": name });
      set(now, { "aria-live": live });
    }
    function stop() {
      clearInterval(timer);
      timer = 0;
      show("M3 2l5 6-5 6zm6 0l5 6-5 6z", "Play", "polite");
    }
    function run() {
      if (timer) return stop();
      if (at === last) go(0);
      show("M3 2h4v12H3zm6 0h4v12H9z", "Pause", "off");
      timer = setInterval(() => (at < last && root.isConnected ? go(at + 1) : stop()), 1800);
    }
    const acts = {
      prev: () => go(at - 1),
      next: () => go(at + 1),
      play: run,
      full: () => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen?.()),
    };
    root.addEventListener("click", ({ target }) => {
      const [act, card, line] = ["[data-act]", "[data-c]", "li[data-s]"].map((q) => target.closest(q));
      if (act) { if (act !== play) stop(); acts[act.dataset.act](); }
      else if (line) { stop(); go(+line.dataset.s); }
      else if (card) {
        const its = steps.flatMap((s, i) => (s.c.includes(card.dataset.c) ? i : []));
        stop(); go(its.find((i) => i > at) ?? its[0] ?? +card.dataset.b);
      }
    });
    range.addEventListener("input", () => { stop(); go(+range.value); });
    root.addEventListener("keydown", (e) => {
      const keys = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1, Home: -1e9, End: 1e9 };
      const inside = e.target.closest("pre,.dbr-graph") && e.key.match(/Up|Down/);
      if (!(e.key in keys) || e.altKey || e.ctrlKey || e.metaKey || inside) return;
      e.preventDefault(); e.stopPropagation(); stop(); go(at + keys[e.key]);
    });
    if (root.clientWidth && root.clientWidth < 620) one(".dbr-code")?.removeAttribute("open");
    one(".dbr-bar").hidden = false;
    go(0, true);
    if (root.closest(".dbr-autoplay") && !still.matches && !location.hash)
      new IntersectionObserver(([e], o) => { if (e.isIntersecting) { o.disconnect(); setTimeout(() => at || timer || run(), 900); } }, { threshold: 0.6 }).observe(root);
  }
  (function find() {
    const found = document.querySelectorAll('.dbr-player[data-dbr="' + id + '"]:not([data-ready])');
    found.forEach(start);
    if (!found.length && tries--) setTimeout(find, 100);
  })();
})("{{ id }}", 50);
